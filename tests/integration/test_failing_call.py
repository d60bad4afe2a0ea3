"""An error of MPI on one rank ends the job with its traceback, and the checkpoint is whole."""

from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.results.contents import read_head


def test_an_error_of_mpi_ends_all_ranks(mpirun, tmp_path):
    algorithm = "saga[exchange=async]"
    words = ["train", "generate:n=400,d=5,task=binary", "--algorithm", algorithm, "--out", tmp_path / "run.h5"]
    words += ["--checkpoint-every", "1rounds", "--tol", "1e-13"]
    done = mpirun(2, "tests/integration/failing_call.py", "Isend", 9, *words, seconds=100)
    assert done.returncode == 1, done.stderr
    assert "MPI_ERR_OTHER" in done.stderr
    files = CheckpointFolder(tmp_path / "run.ckpt")
    assert files.committed()
    assert read_head(files.path(files.committed()[0])).k > 0
