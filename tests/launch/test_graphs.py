"""What goes along graphs, on 8 processes; and processes that leave."""

from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("eight_ranks.py")
LEAVES = """
import os, sys
from mpi4py import MPI
from mpiopt.comm.mpi import MpiComm
from tests.decentralised_cases import begun
comm = MpiComm(MPI.COMM_WORLD.Dup())
algorithm, state, target, channel = begun(comm, sys.argv[1])
for k in range(100000):
    if comm.rank == 1 and k == 3:
        {how}
    algorithm.step(k, state, target, channel)
"""


def test_topologies_coordinators_and_algorithms_on_8_ranks(mpirun):
    done = mpirun(8, "-m", "mpi4py", PROGRAM, seconds=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done on 8 ranks" in done.stdout


def test_train_on_8_ranks(mpirun, tmp_path):
    for algorithm in ("graph-saga[topology=torus]", "push-saga", "dlas"):
        words = ("train", "generate:n=400,d=6,task=binary", "--l2", "0.1", "--algorithm", algorithm, "--tol", "1e-6")
        done = mpirun(8, "-m", "mpi4py", "-m", "mpiopt", *words, "--out", tmp_path / "r.h5", seconds=120)
        assert done.returncode == 0, done.stderr
        assert "rounds along the graph" in done.stdout
        assert "certified" in done.stdout


@pytest.mark.parametrize("how", ["raise RuntimeError('this rank has had enough')", "os.kill(os.getpid(), 9)"])
def test_a_rank_that_leaves_ends_all(mpirun, how, tmp_path):
    """A process that dies or raises while the others wait for its messages: the launcher's exit code says so."""
    program = tmp_path / "leaves.py"
    program.write_text(LEAVES.format(how=how))
    for text in ("graph-saga", "push-saga"):
        done = mpirun(3, "-m", "mpi4py", program, text, seconds=60)
        assert done.returncode != 0
        assert "enough" in done.stderr or "kill" in done.stderr.lower()
