"""Nonblocking sums over MPI, which make progress whenever one of them is polled."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array
from mpiopt.comm.reduction import in_order, is_small, slice_of


class SumQueue:
    """The sums under way on a communicator of their own.

    Ranks poll at different times, but all must call the collectives of a communicator in one order. So a sum starts
    only when the older ones are done, and nothing else uses this communicator.
    """

    def __init__(self, comm: MPI.Intracomm, piece: int) -> None:
        self._comm, self._piece = comm, piece
        self._queue: deque[MpiSum] = deque()

    def start(self, x: Array) -> MpiSum:
        """Start the sum of a copy of `x`."""
        own = np.array(x, order="C", copy=True)
        pending = MpiSum(own, _exchange(own, self._comm, self._piece), self._queue)
        self._queue.append(pending)
        pending.poll()
        return pending

    def finish(self) -> None:
        """Wait for all sums under way."""
        while self._queue:
            self._queue[-1].wait()


class MpiSum:
    """A sum under way: a generator of requests, resumed whenever its last request is done."""

    def __init__(self, x: Array, stages: Generator[MPI.Request, None, None], queue: deque[MpiSum]) -> None:
        self._result, self._stages = x, stages
        self._request: MPI.Request | None = None
        self._queue = queue
        self._done = False

    def poll(self) -> bool:
        """Make progress with the oldest sums, in order; return whether this one is done."""
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


def _exchange(x: Array, comm: MPI.Intracomm, piece: int) -> Generator[MPI.Request, None, None]:
    """Put the sum over the ranks into `x`; each request must be done before the next one is taken."""
    flat = x.reshape(-1)
    if is_small(x.nbytes, comm.size):
        every = np.empty((comm.size, flat.size), x.dtype)
        yield comm.Iallgather(flat, every)
        flat[...] = in_order(np.add, list(every))
        return
    step = max(1, piece // x.itemsize)
    for start in range(0, flat.size, step):
        yield from _exchange_slices(flat[start : start + step], comm)


def _exchange_slices(x: Array, comm: MPI.Intracomm) -> Generator[MPI.Request, None, None]:
    counts = [slice_of(x, comm.size, r).size for r in range(comm.size)]
    own = slice_of(x, comm.size, comm.rank)
    parts = np.empty((comm.size, own.size), x.dtype)
    yield comm.Ialltoallv([x, (counts, None)], [parts, ([own.size] * comm.size, None)])
    total = in_order(np.add, list(parts))
    yield comm.Iallgatherv(total, [x, (counts, None)])
