"""Data over MPI: the same shards as between threads, HDF5 written by all ranks at once, errors on all ranks."""

import h5py
import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.convert import ConvertOptions, convert, generate
from mpiopt.data.dataset import prepare, stream
from mpiopt.data.shard import CsrRows

pytestmark = pytest.mark.mpi

RECIPES = {
    "dense": "generate:n=9001,d=5,task=binary,condition=10",
    "csr": "generate:n=9001,d=400,density=0.02,task=binary",
}


def parts(data):
    rows = data.shard.rows
    arrays = [rows.values, data.shard.label, data.shard.weight, data.shard.order, data.mean, data.scale]
    return [data.checksum, *(a.tobytes() for a in arrays + ([rows.indices] if isinstance(rows, CsrRows) else []))]


@pytest.mark.parametrize("form", RECIPES)
@pytest.mark.parametrize("shards", ["shuffled", "sorted-by-label"])
def test_shards_are_those_of_threads(form, shards, comm, on_threads):
    options = DataOptions(scale="standard", shards=shards, holdout=0.1, intercept=True)
    mine = parts(prepare(RECIPES[form], "binary", options, 3, comm))
    assert mine == on_threads(lambda c: parts(prepare(RECIPES[form], "binary", options, 3, c)))


@pytest.mark.parametrize("form", RECIPES)
def test_parallel_hdf5_holds_what_one_writer_writes(form, comm, mpi_tmp_path):
    out = str(mpi_tmp_path / "parallel.h5")
    made = generate(RECIPES[form], out, comm, ConvertOptions(form=form))
    comm.barrier()
    if comm.rank == 0:
        one = str(mpi_tmp_path / "one.h5")
        spmd(1, lambda c: convert(RECIPES[form], one, c, ConvertOptions(form=form)))
        with h5py.File(out) as a, h5py.File(one) as b:
            assert set(a) == set(b)
            assert all(np.array_equal(a[name][:], b[name][:]) for name in a)
            assert dict(a.attrs.items()).keys() == dict(b.attrs.items()).keys()
    comm.barrier()
    assert sorted(p.name for p in mpi_tmp_path.iterdir()) == ["one.h5", "parallel.h5"]
    direct = parts(prepare(RECIPES[form], "binary", DataOptions(), 3, comm))
    assert parts(prepare(out, "binary", DataOptions(), 3, comm)) == direct
    assert made.checksum == direct[0]
    assert sum(len(p) for p in stream(out, DataOptions(), comm, 4096)) > 0


def test_text_is_read_in_ranges_and_its_errors_end_on_all_ranks(comm, mpi_tmp_path, on_threads):
    path = mpi_tmp_path / "a.svm"
    if comm.rank == 0:
        path.write_text("".join(f"{i % 2} 1:{i}.5 {2 + i % 5}:1\n" for i in range(500)))
    comm.barrier()
    mine = parts(prepare(str(path), "binary", DataOptions(), 3, comm))
    assert mine == on_threads(lambda c: parts(prepare(str(path), "binary", DataOptions(), 3, c)))
    comm.barrier()
    if comm.rank == 0:
        with path.open("a") as file:
            file.write("1 1:oops\n")
    comm.barrier()
    with pytest.raises(ValueError, match="line 501, column 5: found 'oops'"):
        prepare(str(path), "binary", DataOptions(), 3, comm)
    with pytest.raises(ValueError, match="line 501, column 5: found 'oops'"):
        convert(str(path), str(mpi_tmp_path / "o.h5"), comm)
    with pytest.raises(OSError, match="cannot be written"):
        convert("generate:n=10", str(mpi_tmp_path / "no" / "o.h5"), comm)
    comm.barrier()
    assert [p.name for p in mpi_tmp_path.iterdir()] == ["a.svm"]
