"""A channel is all that an algorithm sees of the other ranks; it counts bytes and times waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from mpiopt.comm import Array, Comm, Pending


@dataclass
class Traffic:
    """What this rank sent through the channel, as its communicator counts it, and what it cost."""

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
        self.traffic.seconds_wait += time.perf_counter() - begin
        with self._counted():
            return self.comm.sum(x)

    def start_sum(self, *parts: Array | float) -> Pending:
        """Nonblocking twin of `sum`."""
        with self._counted():
            return _Timed(self.comm.start_sum(flat(*parts)), self.traffic)

    def max(self, x: Array | float) -> Array:
        """Maximum over the ranks."""
        with self._counted():
            return self.comm.max(flat(x))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        begin, sent, messages = time.perf_counter(), self.comm.bytes_sent, self.comm.messages
        yield
        self.traffic.bytes_sent += self.comm.bytes_sent - sent
        self.traffic.messages += self.comm.messages - messages
        self.traffic.seconds_communicate += time.perf_counter() - begin


class _Timed:
    """A sum under way whose polling and waiting count as communication."""

    def __init__(self, pending: Pending, traffic: Traffic) -> None:
        self._pending, self._traffic = pending, traffic

    def poll(self) -> bool:
        begin = time.perf_counter()
        done = self._pending.poll()
        self._traffic.seconds_communicate += time.perf_counter() - begin
        return done

    def wait(self) -> Array:
        begin = time.perf_counter()
        result = self._pending.wait()
        self._traffic.seconds_communicate += time.perf_counter() - begin
        return result


def flat(*parts: Array | float) -> Array:
    """Join arrays and numbers to one flat float64 vector."""
    return np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1) for p in parts])
