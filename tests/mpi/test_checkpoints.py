"""Checkpoints over real MPI: both forms, on the same ranks and on fewer."""

import pytest

from mpiopt.resilience.checkpoint.store import Checkpoints
from tests.integration import save_and_load


@pytest.mark.mpi
@pytest.mark.parametrize("form", ["auto", "sharded"])
def test_saved_and_loaded_on_the_same_ranks_and_on_fewer(comm, mpi_tmp_path, form):
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    shard = save_and_load.shard_of(comm)
    checkpoints = Checkpoints(mpi_tmp_path, comm, form)
    for k in range(3):
        checkpoints.save(k, save_and_load.state_of(k, comm, shard), shard, {"job": save_and_load.JOB})
    loaded = save_and_load.load(Checkpoints(mpi_tmp_path, comm), comm)
    assert (loaded.k, loaded.same_ranks, loaded.notes) == (2, True, ())
    some = comm.raw.Split(0 if comm.rank < max(1, comm.size - 1) else MPI.UNDEFINED)
    if some != MPI.COMM_NULL:
        fewer = MpiComm(some)
        assert save_and_load.load(Checkpoints(mpi_tmp_path, fewer), fewer).same_ranks == (fewer.size == comm.size)
    comm.barrier()


@pytest.mark.mpi
def test_a_folder_that_cannot_be_written_is_an_error_on_all_ranks(comm, mpi_tmp_path):
    if comm.rank == 0:
        (mpi_tmp_path / "file").touch()
    comm.barrier()
    shard = save_and_load.shard_of(comm)
    with pytest.raises(OSError, match=r"^cannot write in .*/file/ckpt: Not a directory$"):
        Checkpoints(mpi_tmp_path / "file" / "ckpt", comm).save(
            0, save_and_load.state_of(0, comm, shard), shard, {"job": ""}
        )
