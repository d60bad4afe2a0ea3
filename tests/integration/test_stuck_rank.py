"""A rank that lives and does not arrive: the job ends with code 76, its stacks and its checkpoint."""

from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.results.contents import read_head


def test_a_stuck_round_ends_with_76_and_the_checkpoint_is_whole(mpirun, tmp_path):
    words = ["train", "generate:n=300,d=5,task=binary", "--algorithm", "lbfgs", "--out", tmp_path / "run.h5"]
    words += ["--checkpoint-every", "1rounds", "--tol", "1e-14"]
    done = mpirun(
        2, "tests/integration/stuck_rank.py", 3, *words, seconds=100, environment={"MPIOPT_ROUND_LIMIT": "2"}
    )
    assert done.returncode == 76, done.stderr
    for rank in (0, 1):
        assert f"mpiopt: rank {rank}: round 3 takes more than" in done.stderr
    assert "in stuck" in done.stderr
    files = CheckpointFolder(tmp_path / "run.ckpt")
    assert read_head(files.path(files.committed()[0])).k == 3
