"""The campaign of ranks that die, at small size; `make torture` is the large one."""

import os
import random

import pytest

from mpiopt.cluster.mpirun import find
from tests.resilience.deaths import ALGORITHMS, STRATEGIES, Deaths, optimum, passed

DRAWS = 6  # a kill may come too late
RUNS = int(os.environ.get("MPIOPT_DEATHS", "1"))


@pytest.fixture(scope="module")
def best():
    return optimum()


@pytest.mark.parametrize(("strategy", "algorithm"), [*((s, "saga") for s in STRATEGIES), ("stateless", "lbfgs")])
def test_runs_of_which_ranks_die_end_certified(tmp_path, best, strategy, algorithm):
    assert algorithm in ALGORITHMS
    if not find(os.environ, "auto").ulfm:
        pytest.skip("this mpirun does not let a job outlive its ranks")
    chance = random.Random(f"{os.environ.get('MPIOPT_KILL_SEED', '0')} {strategy} {algorithm}")
    deaths = Deaths(tmp_path / "run", strategy, algorithm, chance, best)
    for _ in range(RUNS):
        deaths.run()
    for _ in range(DRAWS):
        if not deaths.tally.killed:
            deaths.run()
    print(deaths.tally.line())
    assert passed(deaths.tally), deaths.tally.notes
