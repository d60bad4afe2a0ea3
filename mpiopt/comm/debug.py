"""A communicator that checks every call on all ranks, to find what MPI does not tell.

MPI lets ranks call different collectives, or one with arrays that do not fit: then numbers are wrong, a process ends,
or all wait for ever. Here each collective call is compared first: its verb, its shape and type, and its number in the
order of calls. Where the ranks differ, all of them raise one error that says what each of them called. At the end the
sums, exchanges and messages are counted that nobody has waited for or received.

The environment variable MPIOPT_DEBUG_COMM switches it on; its value is the longest wait for another rank in seconds.
Each call then costs one more sum, of 64 bytes a rank, which the counters of traffic leave out.
"""

from __future__ import annotations

import itertools
import os
import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from mpiopt.comm.base import Array, Comm, Message, Neighbours, Pending
from mpiopt.comm.defaults import CommDefaults
from mpiopt.comm.reduction import signature

VARIABLE = "MPIOPT_DEBUG_COMM"
LONGEST = 64  # bytes of the text that says which call it is
POLL = 1e-5  # seconds between two looks whether the other ranks have come
R_co = TypeVar("R_co", covariant=True)


def debugged(comm: Comm, environment: Mapping[str, str] = os.environ) -> Comm:
    """Return the communicator with checks if the environment asks for them, else as it is.

    Parameters
    ----------
    comm : Comm
        The communicator.
    environment : mapping
        Has MPIOPT_DEBUG_COMM, or not.

    Returns
    -------
    Comm
        `DebugComm`, or `comm`.

    Raises
    ------
    ValueError
        If the variable is not a number of seconds.
    """
    given = environment.get(VARIABLE, "")
    if not given:
        return comm
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not seconds > 0.0:
        raise ValueError(f"{VARIABLE} must be a number of seconds above 0, such as 60, not {given!r}")
    return DebugComm(comm, seconds)


def check_end(comm: Comm) -> None:
    """Free a communicator with checks at the end of a program; do nothing with another one, which MPI frees."""
    if isinstance(comm, DebugComm):
        comm.free()


@dataclass
class LeftOpen:
    """What a rank had begun and not ended when it freed its communicator."""

    sums: int = 0
    exchanges: int = 0  # along the edges of a graph
    messages: int = 0  # sent to this rank and not received
    communicators: int = 0

    def __str__(self) -> str:
        counts = zip(fields(self), astuple(self), strict=True)
        return ", ".join(f"{count} {one.name}" for one, count in counts if count) or "nothing"


class Checks:
    """The numbered calls of one communicator, compared in sums that start in the order of the calls."""

    def __init__(self, inner: Comm, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self._calls = 0
        self._under_way: deque[Pending] = deque()

    def begin(self, call: str) -> None:
        """Start the comparison of a call without waiting, for a call that does not wait either."""
        self._calls += 1
        text = f"{self._calls}: {call}".encode()
        if len(text) > LONGEST:
            text = text[: LONGEST - 9] + b"#%08x" % zlib.crc32(text)
        mine = np.zeros((self._inner.size, LONGEST), np.uint8)
        mine[self._inner.rank] = np.frombuffer(text.ljust(LONGEST, b"\0"), np.uint8)
        inner = self._inner
        counted = inner.bytes_sent, inner.bytes_received, inner.messages
        self._under_way.append(inner.start_sum(mine))
        inner.bytes_sent, inner.bytes_received, inner.messages = counted

    def finish(self) -> None:
        """Wait for the comparisons under way, the oldest first.

        Raises
        ------
        RuntimeError
            On all ranks, if the ranks differ in a call; on those that wait, if a rank does not come.
        """
        late = time.monotonic() + self._seconds
        while self._under_way:
            oldest = self._under_way[0]
            while not oldest.poll():
                if time.monotonic() > late:
                    raise RuntimeError(
                        f"rank {self._inner.rank} has waited {self._seconds:g} s in call {self._calls} for a rank "
                        "that makes no call"
                    )
                time.sleep(POLL)
            self._under_way.popleft()
            texts = [bytes(row).rstrip(b"\0").decode("utf-8", "replace") for row in oldest.wait()]
            if len(set(texts)) > 1:
                raise RuntimeError(f"ranks disagree on the collective call: {texts}")

    def advance(self) -> None:
        """Let what is under way make progress: a call that waits for nothing must not hold up another rank's sum."""
        if self._under_way:
            self._under_way[-1].poll()

    def check(self, call: str) -> None:
        """Compare a call, and those before it, and wait until that is done."""
        self.begin(call)
        self.finish()


class CheckedPending(Generic[R_co]):
    """A sum or an exchange under way, which checks the calls so far before it waits, and counts as open till then."""

    _numbers = itertools.count()

    def __init__(self, inner: Any, checks: Checks, open_ones: set[int]) -> None:
        self._inner, self._checks, self._open = inner, checks, open_ones
        self._number = next(self._numbers)
        self._open.add(self._number)

    def poll(self) -> bool:
        """Make progress; return whether `wait` would return at once."""
        return bool(self._inner.poll())

    def wait(self) -> R_co:
        """Finish, and return the result."""
        self._checks.finish()
        result: R_co = self._inner.wait()
        self._open.discard(self._number)
        return result


class DebugComm(CommDefaults):
    """A `mpiopt.comm.base.Comm` around another one that compares every call on all ranks.

    Parameters
    ----------
    inner : Comm
        The communicator that does the work.
    seconds : float
        The longest wait for another rank.

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.comm.debug import DebugComm
    >>> from mpiopt.comm.threads import spmd
    >>> def main(comm):
    ...     with DebugComm(comm, 10.0) as ranks:
    ...         return ranks.sum(np.zeros(2 + comm.rank))
    >>> spmd(2, main)
    Traceback (most recent call last):
    ...
    RuntimeError: ranks disagree on the collective call: ['1: sum <f8[2]', '1: sum <f8[3]']
    """

    def __init__(self, inner: Comm, seconds: float) -> None:
        self._inner, self._checks = inner, Checks(inner, seconds)
        self.rank, self.size, self.library = inner.rank, inner.size, inner.library
        self.tolerant, self.raw, self.membership = inner.tolerant, inner.raw, inner.membership
        self._sums: set[int] = set()  # started and not waited for
        self._exchanges: set[int] = set()
        self._freed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # the counters, and what only MPI has

    def sum(self, x: Array) -> Array:
        """Return the sum over the ranks."""
        self._checks.check(f"sum {whole(x)}")
        return self._inner.sum(x)

    def start_sum(self, x: Array) -> CheckedPending[Array]:
        """Start a sum; shapes are compared when something waits."""
        self._checks.begin(f"start_sum {whole(x)}")
        return CheckedPending(self._inner.start_sum(x), self._checks, self._sums)

    def max(self, x: Array) -> Array:
        """Return the maximum over the ranks."""
        self._checks.check(f"max {whole(x)}")
        return self._inner.max(x)

    def allgather(self, x: Array) -> list[Array]:
        """Return every rank's array in rank order."""
        self._checks.check(f"allgather {signature(np.atleast_1d(x))}")
        return self._inner.allgather(x)

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Exchange one array for each pair of ranks."""
        kinds = sorted({signature(np.atleast_1d(part)) for part in parts})
        self._checks.check(f"alltoall of {len(parts)} {kinds}")
        return self._inner.alltoall(parts)

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Return the root's array on all ranks."""
        self._checks.check(f"broadcast from {root}")
        return self._inner.broadcast(x, root)

    def send(self, payload: Array, to: int) -> None:
        """Send a message to a rank of this communicator."""
        if not 0 <= to < self.size or payload.dtype != np.uint8:
            raise RuntimeError(
                f"rank {self.rank} sends {payload.dtype} to rank {to}; it must be uint8 to a rank below {self.size}"
            )
        self._inner.send(payload, to)

    def receive_available(self) -> list[Message]:
        """Return the messages that have arrived; not collective."""
        self._checks.advance()
        return self._inner.receive_available()

    def drain(self) -> list[Message]:
        """Receive all messages that are under way."""
        self._checks.check("drain")
        return self._inner.drain()

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._checks.check("barrier")
        self._inner.barrier()

    def agree(self, error: Exception | None) -> None:
        """Raise the error of the lowest rank that has one on all ranks, or return."""
        self._checks.check("agree")
        self._inner.agree(error)

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> DebugNeighbours:
        """Make a graph, whose exchanges are checked, too."""
        self._checks.check("graph")
        return DebugNeighbours(self._inner.graph(outgoing, timeout), self._checks, self._exchanges)

    def free(self) -> None:
        """Free the communicator; RuntimeError if a rank frees what others use, or leaves something open."""
        if self._freed:
            return
        self._freed = True
        self._checks.check("free or return")
        left = LeftOpen(len(self._sums), len(self._exchanges), len(self._inner.drain()))
        made = list(getattr(self._inner, "communicators", ()))
        self._inner.free()
        left.communicators = sum(bool(raw) for raw in made)
        if left != LeftOpen():
            raise RuntimeError(f"rank {self.rank} has left open: {left}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the communicator; after an error without checks, since the other ranks may be elsewhere."""
        if kind is None:
            self.free()
        else:
            self._freed = True
            self._inner.__exit__(kind, error, traceback)


class DebugNeighbours:
    """`mpiopt.comm.base.Neighbours` around others that compares every exchange on all ranks of the graph."""

    def __init__(self, inner: Neighbours, checks: Checks, open_ones: set[int]) -> None:
        self._inner, self._checks, self._open = inner, checks, open_ones

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def exchange(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Send an array to all out-neighbours and return those of the in-neighbours."""
        self._checks.check(f"exchange {tag:#x} {whole(np.asarray(x))}")
        return self._inner.exchange(x, tag)

    def start_exchange(self, x: Array, tag: int = 0) -> CheckedPending[dict[int, Array]]:
        """Start an exchange; shapes and tags are compared when something waits."""
        self._checks.begin(f"start_exchange {tag:#x} {whole(np.asarray(x))}")
        return CheckedPending(self._inner.start_exchange(x, tag), self._checks, self._open)

    def exchange_any(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Exchange arrays whose lengths along axis 0 differ."""
        self._checks.check(f"exchange_any {tag:#x} {signature(np.atleast_1d(x))}")
        return self._inner.exchange_any(x, tag)


def whole(x: Array) -> str:
    """Return type and shape, where all ranks must have the same."""
    return f"{x.dtype.str}{list(x.shape)}"
