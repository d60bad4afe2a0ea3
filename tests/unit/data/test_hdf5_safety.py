"""HDF5 data that lie elsewhere, refer to themselves or are not what they say; damaged archives and streams."""

import bz2
import gzip
import lzma
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpiopt.comm.threads import single, spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.core.trial_run import fault_of_trial
from mpiopt.data.convert import convert
from mpiopt.data.dataset import prepare
from mpiopt.data.formats.base import open_source

X, Y = np.arange(12.0).reshape(4, 3), np.array([0.0, 1.0, 0.0, 1.0])


def read(path, form="auto"):
    pieces = list(open_source(str(path), form, None, single()).pieces())
    return np.concatenate([piece.rows for piece in pieces])


@pytest.fixture
def other(here):
    with h5py.File("other.h5", "w") as f:
        f["X"], f["y"] = X, Y
    return Path("other.h5")


def virtual(source, name="X"):
    with h5py.File("a.h5", "w") as f:
        layout = h5py.VirtualLayout((4, 3), "f8")
        layout[:] = h5py.VirtualSource(source, name, (4, 3))
        f.create_virtual_dataset("X", layout)
        f["y"] = Y


def external_link(source, name="X"):
    with h5py.File("a.h5", "w") as f:
        f["X"], f["y"] = h5py.ExternalLink(source, name), Y


def external_storage(source):
    with h5py.File("a.h5", "w") as f:
        f.create_dataset("X", (4, 3), "f8", external=[(source, 0, 96)])
        f["y"] = Y


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (virtual, "is virtual, of other.h5"),
        (external_link, "is a link into .*other.h5"),
        (external_storage, "lies in"),
    ],
)
def test_rows_in_other_files_are_refused_unless_said(other, make, words):
    make("other.h5")
    with pytest.raises(
        ValueError, match=f"dataset 'X' {words}.*; to read other files, say --format hdf5-dense:linked"
    ):
        read("a.h5")
    found = read("a.h5", "hdf5-dense:linked=allow")
    assert found.shape == (4, 3)
    if make is not external_storage:
        np.testing.assert_array_equal(found, X)


def test_a_virtual_dataset_without_its_source_is_not_read_as_zeros(other):
    virtual("absent.h5")
    with pytest.raises(ValueError, match=r"is virtual, of absent.h5, which does not exist"):
        read("a.h5", "hdf5-dense:linked=allow")


@pytest.mark.parametrize("source", [".", "a.h5"])
def test_a_virtual_dataset_of_itself_is_refused(here, source):
    virtual(source)
    with pytest.raises(ValueError, match=r"a.h5: dataset 'X' is virtual, of its own file"):
        read("a.h5", "hdf5-dense:linked=allow")


def test_links_that_lead_nowhere_are_one_line(here):
    with h5py.File("a.h5", "w") as f:
        f["X"], f["loop"], f["y"] = h5py.SoftLink("/loop"), h5py.SoftLink("/X"), Y
    with pytest.raises(ValueError, match=r"a.h5: has no dataset 'X'"):
        read("a.h5")


def test_an_option_of_links_is_checked(other):
    with pytest.raises(ValueError, match="linked must be refuse or allow, not 'yes'"):
        read("other.h5", "hdf5-dense:linked=yes")


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_a_flipped_bit_of_converted_rows_is_noticed_by_all_that_read_them(other, dtype):
    from mpiopt.data.convert import ConvertOptions

    for target in ("out.h5", "again.h5"):
        convert("other.h5", target, single(), ConvertOptions(float32=dtype == "f4"))
    assert Path("out.h5").read_bytes() == Path("again.h5").read_bytes()
    raw = bytearray(Path("out.h5").read_bytes())
    raw[bytes(raw).find(X[1].astype(dtype).tobytes())] ^= 1
    Path("out.h5").write_bytes(raw)
    with pytest.raises(ValueError, match=r"out.h5: is damaged: its content has checksum"):
        spmd(2, lambda comm: prepare("out.h5", "binary", DataOptions(), 1, comm))
    with pytest.raises(ValueError, match=r"out.h5: is damaged"):
        convert("out.h5", "c.h5", single())


def test_a_partial_file_that_is_a_link_is_not_written_through(other):
    Path("precious").write_text("kept")
    os.symlink("precious", "out.h5.partial")
    convert("other.h5", "out.h5", single())
    assert Path("precious").read_text() == "kept"
    assert not Path("out.h5.partial").exists()


def test_a_damaged_archive_is_one_line(here):
    np.savez_compressed("a.npz", X=np.random.default_rng(0).normal(size=(50, 4)), y=np.arange(50) % 2)
    whole = Path("a.npz").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]):
        Path("a.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"a.npz: is damaged"):
            read("a.npz")


def test_a_damaged_stream_is_one_line_with_the_file(here):
    whole = gzip.compress("".join(f"{i % 2},{i}.5,3\n" for i in range(500)).encode())
    for content in (whole[: len(whole) // 2], whole[:-6] + bytes([whole[-6] ^ 255]) + whole[-5:]):
        Path("a.csv.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"a.csv.gz: the compressed file is damaged or cut off"):
            read("a.csv.gz")


@pytest.mark.parametrize(("name", "packed"), [("a.csv.bz2", bz2.compress), ("a.csv.xz", lzma.compress)])
def test_rows_behind_a_damaged_head_of_a_second_stream_are_not_left_out(here, name, packed):
    first, second = (
        packed("".join(f"{i % 2},{i}.5,3\n" for i in rows).encode()) for rows in (range(50), range(50, 90))
    )
    Path(name).write_bytes(first + second + bytes(8))
    assert len(read(name)) == 90
    for rest in (bytes([second[0] ^ 1]) + second[1:], second[:-9], b"no stream"):
        Path(name).write_bytes(first + rest)
        with pytest.raises(ValueError, match=rf"{name}: the compressed file is damaged or cut off"):
            read(name)


def test_a_trial_ends_with_its_work(here):
    assert fault_of_trial(lambda: None) == ""
    assert fault_of_trial(lambda: 1 / 0) == "division by zero"
    assert fault_of_trial(os.abort) == "a program that reads it is ended by SIGABRT"
    assert "did not end within 0.2 s" in fault_of_trial(lambda: os.read(os.pipe()[0], 1), seconds=0.2)
    assert "memory" in fault_of_trial(lambda: np.ones(1 << 40))


def test_time_in_which_a_job_is_suspended_does_not_count_as_that_of_its_file(monkeypatch):
    clock, looks = time.monotonic, []
    monkeypatch.setattr(time, "monotonic", lambda: looks.append(1) or clock() + 1000.0 * (len(looks) > 1))
    assert fault_of_trial(lambda: time.sleep(0.05)) == ""
