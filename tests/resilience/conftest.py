"""Starts of a training run that the tests kill."""

import subprocess

import pytest

from tests.conftest import paused
from tests.resilience.campaign import PLAIN, TRAIN, WORDS

RANKS = 4
PAUSE = 0.005  # seconds after each round, so that kills find the run on any machine


@pytest.fixture
def start(launch):
    """Return a function that starts `train … --out run.h5 --resume auto` in a folder, with its output in `log`."""

    def run(folder, ranks=RANKS):
        words = [*TRAIN, *WORDS, *PLAIN, "--out", "run.h5", "--resume", "auto"]
        command, variables = launch(ranks, words)
        with (folder / "log").open("w") as log:
            return subprocess.Popen(
                command, cwd=folder, env=variables | paused(PAUSE), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    return run
