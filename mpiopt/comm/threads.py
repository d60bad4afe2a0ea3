"""Ranks as threads of one process, for tests, studies and simulations: a mismatch is an error, not a hang."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from mpiopt.comm.base import Array, Comm, Message
from mpiopt.comm.debug import debugged
from mpiopt.comm.errors import raise_first
from mpiopt.comm.neighbours import GraphEdges, find_sources, shaped_like, with_header
from mpiopt.comm.nodes import pairwise
from mpiopt.comm.reduction import TrafficCounters, signature

R = TypeVar("R")
PAUSE = 2e-5  # seconds that a thread sleeps while it waits for the others


class Mailboxes:
    """The messages that each rank has not received yet."""

    def __init__(self, size: int) -> None:
        self._boxes: list[deque[Message]] = [deque() for _ in range(size)]

    def put(self, source: int, payload: Array, to: int) -> None:
        """Append a copy of a message to the box of rank `to`."""
        self._boxes[to].append(Message(source, np.array(payload, np.uint8, copy=True).reshape(-1)))

    def take(self, rank: int) -> list[Message]:
        """Empty the box of `rank`."""
        box = self._boxes[rank]
        return [box.popleft() for _ in range(len(box))]


class StartedSums:
    """The nonblocking sums under way, numbered in the order in which each rank starts them."""

    def __init__(self, size: int) -> None:
        self._started = [0] * size
        self._parts: dict[int, list[Array | None]] = {}

    def add(self, rank: int, x: Array) -> list[Array | None]:
        """Add a rank's part of its next sum; return the parts of all ranks, None for those not yet started."""
        number = self._started[rank]
        self._started[rank] += 1
        parts = self._parts.setdefault(number, [None] * len(self._started))
        parts[rank] = x
        if min(self._started) > number:
            self._parts.pop(number, None)
        return parts


class ThreadWorld:
    """What the ranks of one process share. All threads run at once and wait for one another.

    A rank that has met the others returns with their values, even if one of them fails right after it, as in MPI.
    Two rows of values are enough: a rank writes again into a row when all have met in the other one.
    """

    def __init__(self, size: int, timeout: float) -> None:
        self.size, self.timeout, self.broken = size, timeout, False
        self.mailboxes, self.sums = Mailboxes(size), StartedSums(size)
        self.rows: list[list[Any]] = [[None] * size, [None] * size]
        self.calls = [0] * size
        self._met = threading.Condition()

    def enter(self, rank: int) -> None:
        """Start the work of a rank."""

    def meet(self, rank: int, value: Any) -> list[Any]:
        """Return the values of all ranks; BrokenBarrierError if one of them does not arrive."""
        row = self.rows[self.calls[rank] % 2]
        with self._met:
            row[rank] = value
            self.calls[rank] += 1
            number = self.calls[rank]
            if min(self.calls) >= number:
                self._met.notify_all()
            elif not self._met.wait_for(lambda: min(self.calls) >= number or self.broken, self.timeout):
                self._break()
            if min(self.calls) < number:
                raise threading.BrokenBarrierError
            return list(row)

    def pause(self, rank: int) -> None:
        """Let the others run; BrokenBarrierError if one of them has failed."""
        if self.broken:
            raise threading.BrokenBarrierError
        time.sleep(PAUSE)

    def leave(self, rank: int) -> None:
        """End the work of a rank."""

    def abort(self) -> None:
        """Make all ranks fail that wait for one that has not come, or will wait."""
        with self._met:
            self._break()

    def _break(self) -> None:
        self.broken = True
        self._met.notify_all()


def wait_until(ready: Callable[[], bool], world: ThreadWorld, rank: int) -> None:
    """Let the other ranks run until `ready()`; BrokenBarrierError after the world's timeout."""
    late = time.monotonic() + world.timeout
    while not ready():
        if time.monotonic() > late:
            world.abort()
            raise threading.BrokenBarrierError
        world.pause(rank)


class ThreadSum:
    """A nonblocking sum, done when all ranks have started it."""

    def __init__(self, parts: list[Array | None], world: ThreadWorld, rank: int) -> None:
        self._parts, self._world, self._rank = parts, world, rank
        self._result: Array | None = None

    def poll(self) -> bool:
        """Let the others run, and return whether all parts are there."""
        if not self._done():
            self._world.pause(self._rank)
        return self._done()

    def _done(self) -> bool:
        return self._result is not None or all(part is not None for part in self._parts)

    def wait(self) -> Array:
        """Return the sum, added pairwise; RuntimeError if shapes or types differ."""
        wait_until(self._done, self._world, self._rank)
        if self._result is None:
            parts = [part for part in self._parts if part is not None]
            kinds = sorted({f"{part.dtype.str}{list(part.shape)}" for part in parts})
            if len(kinds) > 1:
                raise RuntimeError(f"ranks disagree on the parts of a sum: {', '.join(kinds)}")
            self._result = pairwise(np.add, parts)
        return self._result


class ThreadComm(TrafficCounters):
    """One rank of `spmd`; see `mpiopt.comm.base.Comm`. Every collective call is one meeting of all ranks.

    If the ranks disagree on the call, or on shapes and types that must be equal, all of them raise RuntimeError.
    """

    def __init__(self, rank: int, world: ThreadWorld) -> None:
        super().__init__(rank, world.size)
        self._world = world

    def swap(self, call: str, x: Any) -> list[Any]:
        """Return every rank's `x`; the name of the call must be equal on all ranks."""
        values = self._world.meet(self.rank, (call, x))
        if len({name for name, _ in values}) > 1:
            raise RuntimeError(f"ranks disagree on the collective call: {[name for name, _ in values]}")
        return [value for _, value in values]

    def sum(self, x: Array) -> Array:
        """Return the sum over the ranks, added pairwise."""
        mine = x.copy() if self.size > 1 else x  # the others read it while this rank goes on
        parts = self.swap(f"sum {x.dtype.str}{list(x.shape)}", mine)
        self.count_sum(x)
        return pairwise(np.add, parts)

    def start_sum(self, x: Array) -> ThreadSum:
        """Start a sum; it is done when the last rank has started it."""
        self.count_sum(x)
        return ThreadSum(self._world.sums.add(self.rank, np.array(x, order="C", copy=True)), self._world, self.rank)

    def max(self, x: Array) -> Array:
        """Return the maximum over the ranks; NaN where any rank has NaN."""
        parts = self.swap(f"max {x.dtype.str}{list(x.shape)}", x.copy())
        self.count_to_all(x.nbytes)
        self.count_from_each([x.nbytes] * self.size)
        return pairwise(np.maximum, parts)

    def allgather(self, x: Array) -> list[Array]:
        """Return every rank's array in rank order."""
        x = np.atleast_1d(x)
        parts = self.swap(f"allgather {signature(x)}", x.copy())
        self.count_to_all(x.nbytes)
        self.count_from_each([part.nbytes for part in parts])
        return [part.copy() for part in parts]

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Exchange one array for each pair of ranks."""
        if len(parts) != self.size:
            raise RuntimeError(
                f"alltoall needs one array for each of the {self.size} ranks; it was given {len(parts)}"
            )
        kinds = sorted({signature(np.atleast_1d(p)) for p in parts})
        sent = self.swap(f"alltoall {kinds}", [np.atleast_1d(p).copy() for p in parts])
        self.count_to_each([p.nbytes for p in parts])
        received = [theirs[self.rank] for theirs in sent]
        self.count_from_each([part.nbytes for part in received])
        return received

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Return the root's array on all ranks."""
        value = self.swap(f"broadcast {root}", None if x is None or self.rank != root else x.copy())[root]
        if value is None:
            raise RuntimeError("the root of a broadcast has no array to send")
        if self.rank == root:
            self.count_to_all(value.nbytes)
        else:
            self.bytes_received += value.nbytes
        return np.array(value, copy=True)

    def send(self, payload: Array, to: int) -> None:
        """Put a message into the box of a rank."""
        self.count_to_one(payload.nbytes, to)
        self._world.mailboxes.put(self.rank, payload, to)

    def receive_available(self) -> list[Message]:
        """Empty this rank's box, after the others had a chance to run."""
        self._world.pause(self.rank)
        return self.count_received(self._world.mailboxes.take(self.rank))

    def drain(self) -> list[Message]:
        """Empty the box when all ranks have sent; collective."""
        self.swap("drain", None)
        return self.count_received(self._world.mailboxes.take(self.rank))

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.swap("barrier", None)

    def agree(self, error: Exception | None) -> None:
        """Raise the error of the lowest rank that has one on all ranks, or return."""
        raise_first(self.swap("agree", error), error)

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> ThreadNeighbours:
        """Make a graph; the longest wait is that of `spmd`."""
        return ThreadNeighbours(self, outgoing)


def single() -> ThreadComm:
    """Return a communicator of one rank, whose calls return at once."""
    return ThreadComm(0, ThreadWorld(1, 60.0))


def spmd(size: int, main: Callable[[Comm], R], timeout: float = 60.0) -> list[R]:
    """Run `main` as `size` ranks in threads and return their results by rank.

    Parameters
    ----------
    size : int
        Number of ranks.
    main : callable
        Takes the communicator of a rank and returns its result.
    timeout : float
        The longest wait for the other ranks, in seconds.

    Returns
    -------
    list
        The result of each rank.

    Raises
    ------
    Exception
        The error of the lowest rank that raised one. A rank that returns while others still call collectives is a
        mismatch, too.
    """
    return run_in(ThreadWorld(size, timeout), main)


def run_in(world: ThreadWorld, main: Callable[[Comm], R]) -> list[R]:
    """Run `main` as `spmd` does, in the given world."""
    size = world.size
    results: list[Any] = [None] * size
    errors: dict[int, BaseException] = {}

    def run(rank: int) -> None:
        threaded = ThreadComm(rank, world)
        comm = debugged(threaded)
        try:
            world.enter(rank)
            results[rank] = main(comm)
            comm.free()
            threaded.swap("return", None)
        except threading.BrokenBarrierError as error:
            errors[size + rank] = error  # caused by another rank, or a timeout
        except BaseException as error:
            errors[rank] = error
            world.abort()
        finally:
            world.leave(rank)

    threads = [threading.Thread(target=run, args=(r,)) for r in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return results


class ThreadExchange:
    """An exchange that was done when it started: threads have nothing to overlap."""

    def __init__(self, received: dict[int, Array]) -> None:
        self.received = received

    def poll(self) -> bool:
        """Return True: the exchange is done."""
        return True

    def wait(self) -> dict[int, Array]:
        """Return what was received."""
        return self.received


class ThreadNeighbours(GraphEdges):
    """The neighbours of one thread. All ranks meet in each exchange, so a rank that leaves ends the others."""

    def __init__(self, comm: ThreadComm, outgoing: Sequence[int]) -> None:
        super().__init__(comm, outgoing, find_sources(comm, outgoing))
        self._comm = comm

    def exchange(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Send an array to all out-neighbours and return those of the in-neighbours."""
        return shaped_like(self._swap("exchange", np.asarray(x), tag), x)

    def start_exchange(self, x: Array, tag: int = 0) -> ThreadExchange:
        """Exchange at once."""
        return ThreadExchange(self.exchange(x, tag))

    def exchange_any(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Exchange arrays whose lengths along axis 0 differ."""
        return self._swap("exchange_any", np.atleast_1d(x), tag)

    def _swap(self, call: str, x: Array, tag: int) -> dict[int, Array]:
        messages = self._comm.swap(f"{call} {tag:#x}", with_header(x, tag))
        self.count(x.nbytes)
        return self.open_messages([messages[source] for source in self.incoming], x, tag)
