"""Programs under mpirun that fail on one rank end on all of them."""

import pytest

RAISES = """
import sys
import numpy as np
from mpi4py import MPI
from mpiopt.comm.mpi.comm import MpiComm
comm = MpiComm(MPI.COMM_WORLD.Dup())
if comm.rank == 1:
    raise RuntimeError("only here")
comm.sum(np.zeros(3))
"""
MISSES = """
import pytest

@pytest.mark.mpi
def test_alone(comm):
    assert comm.rank != 1, "only here"
    comm.barrier()
"""
FAULT = """
import sys
from mpi4py import MPI
import mpiopt.__main__ as program
import mpiopt.training.train as train
program.JOINT_FAILURE_SECONDS = 1.0
made = train.posed_data

def posed(*words):
    if MPI.COMM_WORLD.rank == 1:
        raise {kind}("only here")
    return made(*words)

train.posed_data = posed
sys.argv[1:] = ["train", "generate:n=500,d=3,task=binary", "--out", "{out}"]
sys.exit(program.main())
"""
NEVER = """
import pytest

@pytest.mark.mpi(min_size=64)
def test_never(comm):
    pass

@pytest.mark.mpi
def test_ever(comm):
    pass
"""


def test_an_uncaught_error_on_one_rank_ends_all(mpirun, tmp_path):
    script = tmp_path / "raises.py"
    script.write_text(RAISES)
    done = mpirun(3, "-m", "mpi4py", script)
    assert done.returncode != 0
    assert "only here" in done.stderr


@pytest.mark.parametrize(("kind", "code"), [("RuntimeError", 1), ("ValueError", 2)])
def test_a_fault_of_one_rank_alone_is_told_and_ends_all_without_mpi4py_around_it(mpirun, tmp_path, kind, code):
    script = tmp_path / "fault.py"
    script.write_text(FAULT.format(kind=kind, out=tmp_path / "run.h5"))
    done = mpirun(3, script)
    assert done.returncode == code, done.stderr
    assert "only here" in done.stderr
    assert code == 1 or "rank 1 alone failed" in done.stderr
    assert not (tmp_path / "run.h5").exists()


@pytest.fixture
def suite(tmp_path):
    """A folder with this project's conftest files and one test file."""
    from pathlib import Path

    here = Path(__file__).resolve().parent.parent

    def make(text):
        (tmp_path / "conftest.py").write_text((here / "conftest.py").read_text())
        (tmp_path / "mpi").mkdir()
        (tmp_path / "mpi" / "conftest.py").write_text((here / "mpi" / "conftest.py").read_text())
        (tmp_path / "mpi" / "test_it.py").write_text(text)
        return "-m", "pytest", "--only-mpi", "-p", "no:cacheprovider", tmp_path / "mpi"

    return make


def test_a_failed_mpi_test_on_one_rank_ends_all(mpirun, suite, tmp_path):
    done = mpirun(3, *suite(MISSES), cwd=tmp_path)
    assert done.returncode != 0
    assert "FAILED on rank 1 of 3" in done.stderr
    assert "only here" in done.stderr


def test_an_mpi_test_that_never_ran_is_found(mpirun, suite, tmp_path):
    from tests.ran import main

    arguments = suite(NEVER)
    for ranks in (1, 2):
        done = mpirun(ranks, *arguments, cwd=tmp_path, environment={"MPIOPT_RAN": str(tmp_path / "ran")})
        assert done.returncode == 0, done.stdout + done.stderr
    assert main(tmp_path / "ran") == 1
    (tmp_path / "mpi" / "test_it.py").write_text(NEVER.replace("64", "2"))
    mpirun(2, *arguments, cwd=tmp_path, environment={"MPIOPT_RAN": str(tmp_path / "ran")})
    assert main(tmp_path / "ran") == 0
