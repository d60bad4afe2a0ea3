"""Four processes of which one is ten times slower."""

import json
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("slow_rank.py")
LEAST = {"timed": 3.0, "async": 2.0}  # rows of the middle fast rank to one of the slow; a timed round ends in a block


@pytest.mark.parametrize("exchange", ["sync", "timed", "async"])
def test_the_optimum_is_certified_and_only_sync_waits(mpirun, exchange):
    done = mpirun(4, "-m", "mpi4py", PROGRAM, exchange, seconds=240)
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(shown) == 4
    for run in shown:
        assert run["certificate"] <= 1e-10
        assert run["same"]
        assert run["left"] == 0
        slow, *fast = run["rows"]
        if exchange == "sync":
            assert max(fast) == pytest.approx(slow, rel=0.01)
        else:
            assert np.median(fast) > LEAST[exchange] * slow


def test_train_takes_the_exchange_as_a_flag(mpirun, tmp_path):
    for exchange in ("timed", "async"):
        words = ("train", "generate:n=2000,d=10,task=binary", "--exchange", exchange, "--tol", "1e-9")
        done = mpirun(3, "-m", "mpi4py", "-m", "mpiopt", *words, "--out", tmp_path / f"{exchange}.h5", seconds=120)
        assert done.returncode == 0, done.stderr
        assert "status" in done.stdout
        assert "rows visited by a rank" in done.stdout
