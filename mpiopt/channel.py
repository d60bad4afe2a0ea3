"""A channel is all that an algorithm sees of the other ranks; it counts bytes and times waiting."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from mpiopt.comm import Array, Comm, Pending


@dataclass
class Traffic:
    """What crossed the wire from this rank, and what it cost."""

    bytes_sent: int = 0
    messages: int = 0
    seconds_wait: float = 0.0  # for the slowest rank, before an exchange starts
    seconds_communicate: float = 0.0


@dataclass
class Channel:
    """Exchange of vectors between the ranks, with its accounting."""

    comm: Comm
    seed: int = 0
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def rank(self) -> int:
        """This rank's number."""
        return self.comm.rank

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return self.comm.size

    def sum(self, *parts: Array | float) -> Array:
        """Sum over the ranks in one exchange; several arguments travel as one flat vector."""
        x = flat(*parts)
        begin = time.perf_counter()
        self.comm.barrier()
        arrived = time.perf_counter()
        total = self.comm.sum(x)
        self._count(x, arrived - begin, time.perf_counter() - arrived)
        return total

    def start_sum(self, *parts: Array | float) -> Pending:
        """Nonblocking twin of `sum`."""
        x = flat(*parts)
        pending = self.comm.start_sum(x)
        self._count(x, 0.0, 0.0)
        return pending

    def max(self, x: Array | float) -> Array:
        """Maximum over the ranks."""
        vector = flat(x)
        self._count(vector, 0.0, 0.0)
        return self.comm.max(vector)

    def _count(self, x: Array, wait: float, communicate: float) -> None:
        # Reduce-scatter and allgather: each rank sends (size - 1)/size of the vector twice.
        self.traffic.bytes_sent += 2 * x.nbytes * (self.size - 1) // self.size
        self.traffic.messages += 2 * (self.size - 1)
        self.traffic.seconds_wait += wait
        self.traffic.seconds_communicate += communicate


def flat(*parts: Array | float) -> Array:
    """Join arrays and numbers to one flat float64 vector."""
    return np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1) for p in parts])
