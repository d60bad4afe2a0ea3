"""Checkpoints of the background over real MPI, hints for MPI-IO, and a plan with a measured link."""

import numpy as np
import pytest

from mpiopt.cluster.planning.plan_args import read as read_request
from mpiopt.cluster.planning.planner import Planner
from mpiopt.resilience.checkpoint.async_store import BackgroundCheckpoints
from mpiopt.resilience.checkpoint.store import Checkpoints
from tests.integration import save_and_load


@pytest.mark.mpi
def test_saved_behind_the_run_and_loaded_as_any_other(comm, mpi_tmp_path):
    shard = save_and_load.shard_of(comm)
    store = BackgroundCheckpoints(mpi_tmp_path / "ckpt", comm)
    for k in range(3):
        state = save_and_load.state_of(k, comm, shard)
        store.save(k, state, shard, {"job": save_and_load.JOB})
        state.table[:] = -1.0
    store.release("done")
    loaded = save_and_load.load(Checkpoints(mpi_tmp_path / "ckpt", comm), comm)
    assert (loaded.k, loaded.same_ranks, loaded.notes) == (2, True, ())


@pytest.mark.mpi
def test_hints_reach_mpi_and_do_no_harm(comm, mpi_tmp_path):
    hints = {"striping_factor": "4", "cb_nodes": "1"}
    comm.create_file(str(mpi_tmp_path / "x"), hints)
    assert (mpi_tmp_path / "x").stat().st_size == 0
    shard = save_and_load.shard_of(comm)
    store = Checkpoints(mpi_tmp_path, comm, "auto", hints=hints)
    store.save(5, save_and_load.state_of(5, comm, shard), shard, {"job": save_and_load.JOB})
    assert save_and_load.load(store, comm).k == 5


@pytest.mark.mpi(min_size=2)
def test_a_plan_measures_the_link_between_its_ranks(comm):
    words = ["generate:n=2000,d=5,task=binary", "--algorithm", "saga", "--ranks", "16", "--link", "measured"]
    planner = Planner.of(read_request(words), comm)
    o = planner.predict(16)
    assert planner.link.source == "measured"
    assert o.communicate > 0.0
    every = np.concatenate(comm.allgather(np.array([[o.seconds, o.sent]])))
    assert (every == every[0]).all()
