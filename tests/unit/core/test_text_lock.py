"""Text of HDF5 files is opened and read by one thread at a time: HDF5 1.10 crashed where two read the same."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import pytest

from mpiopt.data.formats import hdf5
from mpiopt.results import result_file
from tests.cases.result_files import made_run

THREADS = 3


class Watched:
    """A function that notes how many threads were in it at once."""

    def __init__(self, function):
        self.function, self.inside, self.most = function, 0, 0

    def __call__(self, *words):
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.02)  # lets the others in, if nothing keeps them out
        try:
            return self.function(*words)
        finally:
            self.inside -= 1


def names(path):
    with hdf5.open_data(path) as file:
        return hdf5.names_in(path, file, "names")


def table(path):
    with hdf5.open_data(path) as file:
        return hdf5._table(path, file)


def result(path):
    return result_file.read_result(path).job


@pytest.mark.parametrize(
    ("read", "module", "name"),
    [(result, result_file, "_result"), (names, hdf5, "refuse_linked"), (table, h5py.Group, "get")],
)
def test_one_thread_reads_text_at_a_time(here, monkeypatch, read, module, name):
    path = "run.h5"
    if read is result:
        made_run(Path(path))
    else:
        with h5py.File(path, "w") as file:
            file["names"], file["X"] = ["age"], [[1.0]]
            file["schema"] = '{"columns": {}, "titles": {}, "link": ""}'
    alone = read(path)
    watched = Watched(getattr(module, name))
    monkeypatch.setattr(module, name, lambda *words: watched(*words))
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(read, [path] * THREADS)) == [alone] * THREADS
    assert watched.most == 1
