"""What goes along graphs, on 8 processes; and processes that leave."""

from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("eight_ranks.py")
LEAVES = """
import os, sys
from mpi4py import MPI
from mpiopt.comm.mpi.comm import MpiComm
from tests.cases.decentralised import begun
comm = MpiComm(MPI.COMM_WORLD.Dup())
algorithm, state, target, channel = begun(comm, sys.argv[1])
for k in range(100000):
    if comm.rank == 1 and k == 3:
        {how}
    algorithm.step(k, state, target, channel)
"""


def test_topologies_coordinators_algorithms_and_train_on_8_ranks(mpirun, tmp_path):
    done = mpirun(8, "-m", "mpi4py", PROGRAM, tmp_path / "r.h5", seconds=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done on 8 ranks" in done.stdout
    assert "rounds along the graph" in done.stdout
    assert "certified: duality gap" in done.stdout


@pytest.mark.parametrize(
    ("text", "how"),
    [("graph-saga", "raise RuntimeError('this rank has had enough')"), ("push-saga", "os.kill(os.getpid(), 9)")],
)
def test_a_rank_that_leaves_ends_all(mpirun, text, how, tmp_path):
    """A process that dies or raises while the others wait for its messages: the launcher's exit code says so."""
    program = tmp_path / "leaves.py"
    program.write_text(LEAVES.format(how=how))
    done = mpirun(3, "-m", "mpi4py", program, text, seconds=60)
    assert done.returncode != 0
    shown = done.stdout + done.stderr  # MPICH's mpirun speaks of the death on stdout
    assert "enough" in shown or "kill" in shown.lower()
