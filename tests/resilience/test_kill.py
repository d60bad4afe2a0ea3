"""Kill and resume under mpirun on 4 ranks; `MPIOPT_KILLS=50` kills as often as the acceptance asks for."""

import os
import random

import pytest

from tests.resilience.campaign import Campaign

KILLS = int(os.environ.get("MPIOPT_KILLS", "6"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return tmp_path_factory.mktemp("undisturbed") / "run.h5"


@pytest.fixture
def whole(undisturbed, start):
    """Return the result of a run without kills, on 4 ranks."""
    if not undisturbed.exists():
        with start(undisturbed.parent) as process:
            assert process.wait(timeout=240) == 0, (undisturbed.parent / "log").read_text()
    return undisturbed


def test_runs_that_are_killed_end_with_the_bits_of_an_undisturbed_run(tmp_path, whole, start):
    chance = random.Random(os.environ.get("MPIOPT_KILL_SEED", "0"))
    tally = Campaign(tmp_path, start, whole, chance).go(KILLS)
    print(tally)
    assert tally.kills.total() == KILLS
    assert tally.runs >= 1
