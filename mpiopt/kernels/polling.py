"""Work divided into time slices, with a poll of an exchange under way between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from mpiopt.kernels.arrays import Integers as Integers  # re-exported for callers

Poll = Callable[[], bool]

PAUSE = 5e-4  # seconds of work between two polls: a socket buffer fills more slowly at 1 Gbit/s
FIRST = 1  # steps in the first slice: how long a step takes is not known yet
MOST_GROWTH, LEAST_GROWTH = 4.0, 0.25  # of a slice: one slow or fast step must not decide its length
LEAST_SECONDS = 1e-9  # of a slice: the clock may not have moved


def paced(steps: Integers, poll: Poll | None, now: Callable[[], float] = time.perf_counter) -> Iterator[Integers]:
    """Yield `steps` in slices of about PAUSE seconds of the caller's work, and poll after each.

    Joined, the slices are `steps`, independent of the clock. Once `poll` returns True, or without `poll`, the rest is
    one slice.

    Parameters
    ----------
    steps : ndarray of int64, shape (m,)
        What is divided.
    poll : callable, optional
        Makes progress and returns whether there is nothing more to do.
    now : callable
        The clock, in seconds.
    """
    done, size = 0, FIRST
    while poll is not None and done < len(steps):
        begin = now()
        yield steps[done : done + size]
        done += size
        if poll():
            break
        size = max(1, int(size * min(MOST_GROWTH, max(LEAST_GROWTH, PAUSE / max(now() - begin, LEAST_SECONDS)))))
    if done < len(steps):
        yield steps[done:]
