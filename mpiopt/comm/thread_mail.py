"""What is under way between threads of one process: messages, and sums that nobody waits for yet."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from mpiopt.comm import Array, Letter
from mpiopt.comm.reduction import in_order


class Place(Protocol):
    """Where the threads meet."""

    timeout: float

    def pause(self, rank: int) -> None:
        """Let the other ranks run; raise BrokenBarrierError where one of them has failed."""

    def abort(self) -> None:
        """Let all ranks fail that wait or will wait."""


def until(ready: Callable[[], bool], place: Place, rank: int) -> None:
    """Let the others run until `ready`; BrokenBarrierError where that takes too long."""
    late = time.monotonic() + place.timeout
    while not ready():
        if time.monotonic() > late:
            place.abort()
            raise threading.BrokenBarrierError
        place.pause(rank)


class Boxes:
    """A box of messages for each rank."""

    def __init__(self, size: int) -> None:
        self._boxes: list[deque[Letter]] = [deque() for _ in range(size)]

    def put(self, source: int, wire: Array, to: int) -> None:
        """Lay a copy into the box of `to`."""
        self._boxes[to].append((source, np.array(wire, np.uint8, copy=True).reshape(-1)))

    def take(self, rank: int) -> list[Letter]:
        """Empty the box of `rank`."""
        box = self._boxes[rank]
        return [box.popleft() for _ in range(len(box))]


class Sums:
    """Sums under way, numbered in the order in which each rank starts them."""

    def __init__(self, size: int) -> None:
        self._started = [0] * size
        self._parts: dict[int, list[Array | None]] = {}

    def bring(self, rank: int, x: Array) -> list[Array | None]:
        """Bring a rank's part of its next sum; give all parts, those that are not here yet as None."""
        number = self._started[rank]
        self._started[rank] += 1
        parts = self._parts.setdefault(number, [None] * len(self._started))
        parts[rank] = x
        if min(self._started) > number:
            self._parts.pop(number, None)
        return parts


class Started:
    """A sum under way: done when all ranks have brought their part."""

    def __init__(self, parts: list[Array | None], place: Place, rank: int) -> None:
        self._parts, self._place, self._rank = parts, place, rank
        self._result: Array | None = None

    def poll(self) -> bool:
        """Let the others run, and say whether all parts are here."""
        if not self._done():
            self._place.pause(self._rank)
        return self._done()

    def _done(self) -> bool:
        return self._result is not None or all(part is not None for part in self._parts)

    def wait(self) -> Array:
        """Give the sum in rank order; RuntimeError where shapes or types differ."""
        until(self._done, self._place, self._rank)
        if self._result is None:
            parts = [part for part in self._parts if part is not None]
            kinds = sorted({f"{part.dtype.str}{list(part.shape)}" for part in parts})
            if len(kinds) > 1:
                raise RuntimeError(f"ranks disagree on the parts of a sum: {', '.join(kinds)}")
            self._result = in_order(np.add, parts)
        return self._result
