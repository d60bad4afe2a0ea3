"""Bytes, messages and seconds of communication: the counters, and the timer around every exchange."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mpiopt.comm.base import Array, Comm, Pending

COUNTS = ("bytes_sent", "bytes_received", "bytes_plain", "messages", "exchanges")


@dataclass
class Traffic:
    """What this rank sent and received through its channel, and the seconds that this took."""

    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_plain: int = 0  # bytes that the same exchanges would have sent without compression, as float64
    messages: int = 0
    exchanges: int = 0
    rounds: int = 0  # in a graph, the same on all ranks; one exchange there takes many rounds
    seconds_wait: float = 0.0  # for the slowest rank, before an exchange starts
    seconds_communicate: float = 0.0
    seconds_compress: float = 0.0


@dataclass(frozen=True)
class Timer:
    """Add what a communicator counts, and seconds, to a `Traffic`."""

    comm: Comm
    traffic: Traffic

    def wait(self) -> None:
        """Wait for all ranks, so that what follows is communication and not the slowest rank's work; collective."""
        begin = time.perf_counter()
        self.comm.barrier()
        self.traffic.seconds_wait += time.perf_counter() - begin

    @contextmanager
    def compressing(self) -> Iterator[None]:
        """Count the block's seconds as compression."""
        begin = time.perf_counter()
        yield
        self.traffic.seconds_compress += time.perf_counter() - begin

    @contextmanager
    def counted(self, exchanges: int = 1) -> Iterator[None]:
        """Count what the block sends and receives, and its seconds as communication."""
        comm, traffic = self.comm, self.traffic
        begin, sent, received, messages = time.perf_counter(), comm.bytes_sent, comm.bytes_received, comm.messages
        yield
        traffic.bytes_sent += comm.bytes_sent - sent
        traffic.bytes_received += comm.bytes_received - received
        traffic.messages += comm.messages - messages
        traffic.exchanges += exchanges
        traffic.seconds_communicate += time.perf_counter() - begin


class TimedSum:
    """A nonblocking sum whose polling and waiting count as communication."""

    def __init__(self, pending: Pending, traffic: Traffic) -> None:
        self._pending, self._traffic = pending, traffic

    def poll(self) -> bool:
        """Make progress; return whether `wait` would return at once."""
        begin = time.perf_counter()
        done = self._pending.poll()
        self._traffic.seconds_communicate += time.perf_counter() - begin
        return done

    def wait(self) -> Array:
        """Finish the sum and return it."""
        begin = time.perf_counter()
        result = self._pending.wait()
        self._traffic.seconds_communicate += time.perf_counter() - begin
        return result
