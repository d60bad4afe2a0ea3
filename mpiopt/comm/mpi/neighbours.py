"""Exchanges along a graph over MPI: neighbourhood collectives on a communicator of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array
from mpiopt.comm.neighbours import HEADER, GraphEdges, header, shaped_like, with_header
from mpiopt.comm.reduction import TrafficCounters

SPINS = 200  # tests of a request between two readings of the clock


class MpiNeighbours(GraphEdges):
    """The neighbours of one MPI rank; a message that takes longer than `timeout` seconds is a RuntimeError.

    All exchanges of a graph start in the same order on all ranks, so any number of them may be under way.
    """

    def __init__(
        self,
        counters: TrafficCounters,
        raw: MPI.Intracomm,
        outgoing: Sequence[int],
        incoming: Sequence[int],
        timeout: float,
        piece: int,
    ) -> None:
        super().__init__(counters, outgoing, incoming)
        self.raw = raw.Create_dist_graph_adjacent(self.incoming, self.outgoing, reorder=False)
        self._timeout, self._piece = timeout, piece

    def exchange(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Send an array to all out-neighbours and return those of the in-neighbours."""
        return self.start_exchange(x, tag).wait()

    def start_exchange(self, x: Array, tag: int = 0) -> MpiExchange:
        """Start an exchange of a copy of `x`."""
        x = np.ascontiguousarray(x).reshape(np.shape(x))
        self.count(x.nbytes)
        message = with_header(x, tag)
        requests, parts = [], []
        for start in range(0, message.size, self._piece):
            piece = message[start : start + self._piece]
            part = np.empty((len(self.incoming), piece.size), np.uint8)
            requests.append(self.raw.Ineighbor_allgather([piece, MPI.BYTE], [part, piece.size, MPI.BYTE]))
            parts.append(part)
        return MpiExchange(self, x, tag, message, requests, parts)

    def exchange_any(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Exchange arrays whose lengths along axis 0 differ; the first of two messages on each edge is the header."""
        x = np.ascontiguousarray(np.atleast_1d(x))
        self.count(x.nbytes)
        heads = np.empty((len(self.incoming), HEADER // 8), "<u8")
        mine = np.array(header(x, tag), "<u8")
        self.wait([self.raw.Ineighbor_allgather([mine, MPI.BYTE], [heads, HEADER, MPI.BYTE])])
        lengths = [HEADER + int(n) for n in heads[:, 1]]
        every = np.empty(sum(lengths), np.uint8)
        message = with_header(x, tag)
        self.wait([self.raw.Ineighbor_allgatherv([message, MPI.BYTE], [every, (lengths, None), MPI.BYTE])])
        messages = np.split(every, np.cumsum(lengths)[:-1]) if lengths else []
        return self.open_messages(messages, x, tag)

    def wait(self, requests: Sequence[MPI.Request]) -> None:
        """Finish the requests; RuntimeError where that takes longer than the timeout."""
        end = time.monotonic() + self._timeout
        while not any(MPI.Request.Testall(requests) for _ in range(SPINS)):
            if time.monotonic() > end:
                raise RuntimeError(
                    f"rank {self.rank} waited {self._timeout:g} s for messages of ranks {list(self.incoming)}: "
                    "one of these, or of their neighbours, has ended"
                )


class MpiExchange:
    """A nonblocking exchange under way."""

    def __init__(
        self,
        neighbours: MpiNeighbours,
        x: Array,
        tag: int,
        message: Array,
        requests: list[MPI.Request],
        parts: list[Array],
    ) -> None:
        self._neighbours, self._like, self._tag = neighbours, x, tag
        self._message = message  # MPI reads it until the end
        self._requests, self._parts = requests, parts
        self._received: dict[int, Array] | None = None

    def poll(self) -> bool:
        """Make progress; return whether `wait` would return at once."""
        return self._received is not None or bool(MPI.Request.Testall(self._requests))

    def wait(self) -> dict[int, Array]:
        """Finish the exchange and return what was received."""
        if self._received is None:
            self._neighbours.wait(self._requests)
            messages = np.concatenate(self._parts, axis=1) if len(self._parts) > 1 else self._parts[0]
            received = self._neighbours.open_messages(list(messages), self._like, self._tag)
            self._received = shaped_like(received, self._like)
        return self._received
