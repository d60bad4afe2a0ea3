"""Sums under way over MPI, moved on whenever one of them is polled."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array
from mpiopt.comm.reduction import in_order, is_small, slice_of


class SumQueue:
    """A communicator for sums under way alone.

    Ranks poll at different times; that all of them still call the collectives of a communicator in one order, a
    sum starts only when the older ones are done, and no other verb uses this communicator.
    """

    def __init__(self, comm: MPI.Intracomm, piece: int) -> None:
        self._comm, self._piece = comm, piece
        self._queue: deque[Sum] = deque()

    def start(self, x: Array) -> Sum:
        """Start the sum of a copy of `x`."""
        own = np.array(x, order="C", copy=True)
        pending = Sum(own, _exchange(own, self._comm, self._piece), self._queue)
        self._queue.append(pending)
        pending.poll()
        return pending


class Sum:
    """A sum under way, as a generator of requests that is resumed when the request is done."""

    def __init__(self, x: Array, stages: Generator[MPI.Request, None, None], queue: deque[Sum]) -> None:
        self._result, self._stages = x, stages
        self._request: MPI.Request | None = None
        self._queue = queue
        self._done = False

    def poll(self) -> bool:
        """Move the oldest sums on, in order; say whether this one is done."""
        while self._queue and self._queue[0]._test():
            self._queue.popleft()
        return self._done

    def wait(self) -> Array:
        """Finish this sum and all older ones."""
        while not self._done:
            oldest = self._queue[0]
            if oldest._request is not None:
                oldest._request.Wait()
            self.poll()
        return self._result

    def _test(self) -> bool:
        while not self._done and (self._request is None or self._request.Test()):
            self._request = next(self._stages, None)
            self._done = self._request is None
        return self._done


def _exchange(x: Array, lane: MPI.Intracomm, piece: int) -> Generator[MPI.Request, None, None]:
    """Put the sum over the ranks into `x`; each request must be done before the next is asked for."""
    flat = x.reshape(-1)
    if is_small(x.nbytes, lane.size):
        every = np.empty((lane.size, flat.size), x.dtype)
        yield lane.Iallgather(flat, every)
        flat[...] = in_order(np.add, list(every))
        return
    step = max(1, piece // x.itemsize)
    for start in range(0, flat.size, step):
        yield from _exchange_slices(flat[start : start + step], lane)


def _exchange_slices(x: Array, lane: MPI.Intracomm) -> Generator[MPI.Request, None, None]:
    counts = [slice_of(x, lane.size, r).size for r in range(lane.size)]
    own = slice_of(x, lane.size, lane.rank)
    parts = np.empty((lane.size, own.size), x.dtype)
    yield lane.Ialltoallv([x, (counts, None)], [parts, ([own.size] * lane.size, None)])
    total = in_order(np.add, list(parts))
    yield lane.Iallgatherv(total, [x, (counts, None)])
