"""A communicator with simulated time: each rank has a clock, advanced by its work and by the seconds of exchanges.

Work is the processor time of the rank's thread between two operations. A collective operation starts when the last
rank has arrived and ends after its seconds on the link. A rank that arrives earlier waits.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from mpiopt.cluster.planning.link import Link
from mpiopt.comm.base import Array, Comm, Message, Pending
from mpiopt.comm.defaults import CommDefaults


@dataclass
class RankSeconds:
    """Simulated seconds of one rank, and its collective operations by name and bytes."""

    compute: float = 0.0
    communicate: float = 0.0
    wait: float = 0.0
    calls: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def now(self) -> float:
        """The rank's clock."""
        return self.compute + self.communicate + self.wait


class Clocks:
    """Shared by the ranks of one simulation: the time at which each has arrived at an operation."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._arrived: dict[tuple[str, int], list[float]] = {}
        self._lock = threading.Lock()

    def arrive(self, sequence: str, number: int, now: float) -> None:
        """Record the time at which a rank arrives at operation `number` of a sequence of operations."""
        with self._lock:
            self._arrived.setdefault((sequence, number), []).append(now)

    def last(self, sequence: str, number: int) -> float:
        """Return the time at which the last rank arrived; all have."""
        with self._lock:
            self._arrived.pop((sequence, number - 2), None)
            return max(self._arrived[sequence, number])


class ClockComm(CommDefaults):
    """The communicator `inner` on a rank's simulated clock."""

    def __init__(self, inner: Comm, clocks: Clocks) -> None:
        self._inner, self._clocks = inner, clocks
        self.rank, self.size, self.library = inner.rank, inner.size, inner.library
        self.tolerant = inner.tolerant
        self.bytes_sent = self.bytes_received = self.messages = 0
        self.spent = RankSeconds()
        self._operations: Counter[str] = Counter()
        self._since = time.thread_time()

    def _enter(self, verb: str, nbytes: int, sequence: str = "blocking") -> int:
        self.spent.compute += time.thread_time() - self._since
        self.spent.calls[verb, nbytes] += 1
        self._operations[sequence] += 1
        self._clocks.arrive(sequence, self._operations[sequence], self.spent.now)
        return self._operations[sequence]

    def _leave(self, verb: str, nbytes: int, number: int, sequence: str = "blocking") -> None:
        begins = self._clocks.last(sequence, number)
        ends = begins + self._clocks.link.seconds(verb, nbytes, self.size)
        self.spent.wait += max(0.0, begins - self.spent.now)
        self.spent.communicate += max(0.0, ends - self.spent.now)
        self._resume_work()

    @contextmanager
    def _operation(self, verb: str, nbytes: int) -> Iterator[None]:
        """Run the block as a collective operation to which this rank contributes `nbytes`."""
        number = self._enter(verb, nbytes)
        yield
        self._leave(verb, nbytes, number)

    def _resume_work(self) -> None:
        inner = self._inner
        self.bytes_sent, self.bytes_received, self.messages = inner.bytes_sent, inner.bytes_received, inner.messages
        self._since = time.thread_time()

    def sum(self, x: Array) -> Array:
        """Return the sum over the ranks."""
        with self._operation("sum", x.nbytes):
            return self._inner.sum(x)

    def start_sum(self, x: Array) -> ClockedSum:
        """Start a sum; its time on the link passes while the ranks work."""
        number = self._enter("sum", x.nbytes, "sums")
        pending = self._inner.start_sum(x)
        self._resume_work()
        return ClockedSum(self, pending, number, x.nbytes)

    def end_sum(self, pending: Pending, number: int, nbytes: int) -> Array:
        """Wait for a started sum."""
        self.spent.compute += time.thread_time() - self._since
        total = pending.wait()
        self._leave("sum", nbytes, number, "sums")
        return total

    def max(self, x: Array) -> Array:
        """Return the maximum over the ranks."""
        with self._operation("max", x.nbytes):
            return self._inner.max(x)

    def allgather(self, x: Array) -> list[Array]:
        """Return every rank's array."""
        with self._operation("allgather", np.atleast_1d(x).nbytes):
            return self._inner.allgather(x)

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Send one array to each rank; return the arrays received."""
        with self._operation("alltoall", max(np.atleast_1d(part).nbytes for part in parts)):
            return self._inner.alltoall(parts)

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Return the root's array."""
        number = self._enter("broadcast", 0)
        value = self._inner.broadcast(x, root)
        self._leave("broadcast", value.nbytes, number)
        return value

    def barrier(self) -> None:
        """Wait for all ranks."""
        with self._operation("barrier", 0):
            self._inner.barrier()

    def agree(self, error: Exception | None) -> None:
        """Raise the error of the lowest rank that has one, on all ranks."""
        with self._operation("agree", 8):
            self._inner.agree(error)

    def send(self, payload: Array, to: int) -> NoReturn:
        """Refuse: the time at which a message is received depends on the real clock of the machine."""
        raise ValueError("an asynchronous exchange has no simulated time; use --exchange sync, overlap or timed")

    def receive_available(self) -> list[Message]:
        """Return nothing: no message can be sent."""
        return []

    def drain(self) -> list[Message]:
        """Return nothing."""
        return []

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> NoReturn:
        """Refuse: only exchanges of all ranks have a simulated time."""
        raise ValueError("an algorithm on a graph has no simulated time here; use mpiopt study")


class ClockedSum:
    """A sum under way on a rank's clock."""

    def __init__(self, comm: ClockComm, pending: Pending, number: int, nbytes: int) -> None:
        self._comm, self._pending, self._number, self._nbytes = comm, pending, number, nbytes

    def poll(self) -> bool:
        """Make progress."""
        return self._pending.poll()

    def wait(self) -> Array:
        """Finish the sum."""
        return self._comm.end_sum(self._pending, self._number, self._nbytes)
