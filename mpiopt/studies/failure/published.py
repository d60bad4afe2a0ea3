"""The paper's numbers, from the logs of its figures 4 and 5: one worker, one seed, outages of 20 s at 30 and 80 s."""

from __future__ import annotations

from typing import NamedTuple


class PublishedRun(NamedTuple):
    """A run of the paper."""

    falls: tuple[tuple[float, float], ...]  # accuracy before each kill and the first one after
    final: float  # mean of the last five accuracies


RUNS = {  # by number of kills and configuration
    1: {
        "sync-checkpoint": PublishedRun(((0.529, 0.473),), 0.768),
        "async-checkpoint": PublishedRun(((0.361, 0.294),), 0.751),
        "sync-chain": PublishedRun(((0.442, 0.352),), 0.751),
        "async-chain": PublishedRun(((0.362, 0.376),), 0.729),
        "stateless": PublishedRun(((0.281, 0.426),), 0.657),
    },
    2: {
        "sync-checkpoint": PublishedRun(((0.384, 0.108), (0.512, 0.475)), 0.742),  # 0.108: not restored
        "async-checkpoint": PublishedRun(((0.333, 0.101), (0.419, 0.418)), 0.741),
        "sync-chain": PublishedRun(((0.452, 0.438), (0.573, 0.521)), 0.756),
        "async-chain": PublishedRun(((0.527, 0.502), (0.659, 0.596)), 0.763),
        "stateless": PublishedRun(((0.535, 0.589), (0.629, 0.689)), 0.739),
    },
}
