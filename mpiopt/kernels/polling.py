"""Work cut into pieces by time, with a look at something else between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Poll = Callable[[], bool]

PAUSE = 5e-4  # seconds of work between two polls: a socket buffer fills more slowly at 1 Gbit/s
FIRST = 1  # steps in the first piece: nobody knows yet how long a step takes


def paced(steps: Integers, poll: Poll | None, now: Callable[[], float] = time.perf_counter) -> Iterator[Integers]:
    """Yield `steps` in pieces of about PAUSE seconds of the caller's work each, and poll after each.

    The pieces put together are `steps`, whatever the clock says. Once `poll` says that it has no more to do, or where
    there is none, the rest is one piece.
    """
    done, size = 0, FIRST
    while poll is not None and done < len(steps):
        begin = now()
        yield steps[done : done + size]
        done += size
        if poll():
            break
        size = max(1, int(size * min(4.0, max(0.25, PAUSE / max(now() - begin, 1e-9)))))
    if done < len(steps):
        yield steps[done:]
