"""Nonblocking sums over MPI, which make progress whenever one of them is polled."""

from __future__ import annotations

from collections import deque

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array
from mpiopt.comm.mpi.node_sums import NodeSums, Requests
from mpiopt.comm.nodes import pairwise
from mpiopt.comm.reduction import is_small, slice_of


class SumQueue:
    """The sums under way on a communicator of their own.

    Ranks poll at different times, but all must call the collectives of a communicator in one order. So a sum starts
    only when the older ones are done, and nothing else uses this communicator.
    """

    def __init__(self, comm: MPI.Intracomm, piece: int, over_nodes: NodeSums | None = None) -> None:
        self._comm, self._piece, self.over_nodes = comm, piece, over_nodes
        self._queue: deque[MpiSum] = deque()

    def start(self, x: Array) -> MpiSum:
        """Start the sum of a copy of `x`."""
        own = np.array(x, order="C", copy=True)
        pending = MpiSum(own, self._exchange(own), self._queue)
        self._queue.append(pending)
        pending.poll()
        return pending

    def finish(self) -> None:
        """Wait for all sums under way."""
        while self._queue:
            self._queue[-1].wait()

    def _exchange(self, x: Array) -> Requests:
        """Put the sum over the ranks into `x`; each request must be done before the next one is taken."""
        flat, step, nodes = x.reshape(-1), max(1, self._piece // x.itemsize), self.over_nodes
        if is_small(x.nbytes, self._comm.size):
            yield from nodes.gather(flat) if nodes else _gather(flat, self._comm)
            return
        for start in range(0, flat.size, step):
            piece = flat[start : start + step]
            yield from nodes.exchange_slices(piece) if nodes else _exchange_slices(piece, self._comm)


class MpiSum:
    """A sum under way: a generator of requests, resumed whenever its last request is done."""

    def __init__(self, x: Array, stages: Requests, queue: deque[MpiSum]) -> None:
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


def _gather(x: Array, comm: MPI.Intracomm) -> Requests:
    every = np.empty((comm.size, x.size), x.dtype)
    yield comm.Iallgather(x, every)
    x[...] = pairwise(np.add, list(every))


def _exchange_slices(x: Array, comm: MPI.Intracomm) -> Requests:
    counts = [slice_of(x, comm.size, r).size for r in range(comm.size)]
    own = slice_of(x, comm.size, comm.rank)
    parts = np.empty((comm.size, own.size), x.dtype)
    yield comm.Ialltoallv([x, (counts, None)], [parts, ([own.size] * comm.size, None)])
    total = pairwise(np.add, list(parts))
    yield comm.Iallgatherv(total, [x, (counts, None)])
