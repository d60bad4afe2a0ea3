"""What is under way between threads of one process: messages, and sums that nobody waits for yet.

The verbs between threads of one process, for laws, studies and tests: a mismatch is an error, not a hang.

Messages along a graph between threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from mpiopt.comm.base import Array, Comm, Message
from mpiopt.comm.errors import raise_first
from mpiopt.comm.neighbours import Edges, all_equal, seal, sources_of
from mpiopt.comm.reduction import Sent, in_order, signature


class MeetingPoint(Protocol):
    """Where the threads meet."""

    timeout: float

    def pause(self, rank: int) -> None:
        """Let the other ranks run; raise BrokenBarrierError where one of them has failed."""

    def abort(self) -> None:
        """Let all ranks fail that wait or will wait."""


def until(ready: Callable[[], bool], place: MeetingPoint, rank: int) -> None:
    """Let the others run until `ready`; BrokenBarrierError where that takes too long."""
    late = time.monotonic() + place.timeout
    while not ready():
        if time.monotonic() > late:
            place.abort()
            raise threading.BrokenBarrierError
        place.pause(rank)


class Boxes:
    """A box of messages for each rank."""

    def __init__(self, size: int) -> None:
        self._boxes: list[deque[Message]] = [deque() for _ in range(size)]

    def put(self, source: int, wire: Array, to: int) -> None:
        """Lay a copy into the box of `to`."""
        self._boxes[to].append((source, np.array(wire, np.uint8, copy=True).reshape(-1)))

    def take(self, rank: int) -> list[Message]:
        """Empty the box of `rank`."""
        box = self._boxes[rank]
        return [box.popleft() for _ in range(len(box))]


class Sums:
    """Sums under way, numbered in the order in which each rank starts them."""

    def __init__(self, size: int) -> None:
        self._started = [0] * size
        self._parts: dict[int, list[Array | None]] = {}

    def bring(self, rank: int, x: Array) -> list[Array | None]:
        """Bring a rank's part of its next sum; give all parts, those that are not here yet as None."""
        number = self._started[rank]
        self._started[rank] += 1
        parts = self._parts.setdefault(number, [None] * len(self._started))
        parts[rank] = x
        if min(self._started) > number:
            self._parts.pop(number, None)
        return parts


class Started:
    """A sum under way: done when all ranks have brought their part."""

    def __init__(self, parts: list[Array | None], place: MeetingPoint, rank: int) -> None:
        self._parts, self._place, self._rank = parts, place, rank
        self._result: Array | None = None

    def poll(self) -> bool:
        """Let the others run, and say whether all parts are here."""
        if not self._done():
            self._place.pause(self._rank)
        return self._done()

    def _done(self) -> bool:
        return self._result is not None or all(part is not None for part in self._parts)

    def wait(self) -> Array:
        """Give the sum in rank order; RuntimeError where shapes or types differ."""
        until(self._done, self._place, self._rank)
        if self._result is None:
            parts = [part for part in self._parts if part is not None]
            kinds = sorted({f"{part.dtype.str}{list(part.shape)}" for part in parts})
            if len(kinds) > 1:
                raise RuntimeError(f"ranks disagree on the parts of a sum: {', '.join(kinds)}")
            self._result = in_order(np.add, parts)
        return self._result


R = TypeVar("R")


class ThreadWorld:
    """Where the ranks of one process meet: all threads run at once, and wait for one another at a barrier."""

    def __init__(self, size: int, timeout: float) -> None:
        self.size, self.timeout = size, timeout
        self.boxes, self.sums = Boxes(size), Sums(size)
        self.slots: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=timeout)

    def enter(self, rank: int) -> None:
        """Begin the work of a rank."""

    def meet(self, rank: int, brought: Any) -> list[Any]:
        """Give what all ranks bring; raise BrokenBarrierError where one of them does not come."""
        self.slots[rank] = brought
        self.barrier.wait()
        seen = list(self.slots)
        self.barrier.wait()
        return seen

    def pause(self, rank: int) -> None:
        """Let the others run."""
        if self.barrier.broken:
            raise threading.BrokenBarrierError
        time.sleep(2e-5)

    def leave(self, rank: int) -> None:
        """End the work of a rank."""

    def abort(self) -> None:
        """Let all ranks fail that wait or will wait."""
        self.barrier.abort()


class ThreadComm(Sent):
    """One rank of `spmd`; verbs that wait for all are built on one swap of values at a barrier.

    Where the ranks disagree on the verb, or on shapes and types that must be equal, all of them raise RuntimeError.
    """

    def __init__(self, rank: int, world: ThreadWorld) -> None:
        super().__init__(rank, world.size)
        self._world = world

    def swap(self, verb: str, x: Any) -> list[Any]:
        """Give every rank's `x`; `verb` must be equal on all ranks."""
        seen = self._world.meet(self.rank, (verb, x))
        if len({v for v, _ in seen}) > 1:
            raise RuntimeError(f"ranks disagree on the verb: {[v for v, _ in seen]}")
        return [value for _, value in seen]

    def sum(self, x: Array) -> Array:
        """Sum over the ranks in rank order."""
        parts = self.swap(f"sum {x.dtype.str}{list(x.shape)}", x.copy())
        self.count_sum(x)
        return in_order(np.add, parts)

    def start_sum(self, x: Array) -> Started:
        """Bring a part of a sum; it is done when the last rank has brought its own."""
        self.count_sum(x)
        return Started(self._world.sums.bring(self.rank, np.array(x, order="C", copy=True)), self._world, self.rank)

    def max(self, x: Array) -> Array:
        """Maximum over the ranks; NaN wins."""
        parts = self.swap(f"max {x.dtype.str}{list(x.shape)}", x.copy())
        self.count_to_all(x.nbytes)
        self.count_from_each([x.nbytes] * self.size)
        return in_order(np.maximum, parts)

    def allgather(self, x: Array) -> list[Array]:
        """Every rank's array in rank order."""
        x = np.atleast_1d(x)
        parts = self.swap(f"allgather {signature(x)}", x.copy())
        self.count_to_all(x.nbytes)
        self.count_from_each([part.nbytes for part in parts])
        return [part.copy() for part in parts]

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Exchange one array per pair of ranks."""
        if len(parts) != self.size:
            raise RuntimeError(f"alltoall takes one array for each of the {self.size} ranks, not {len(parts)}")
        kinds = sorted({signature(np.atleast_1d(p)) for p in parts})
        sent = self.swap(f"alltoall {kinds}", [np.atleast_1d(p).copy() for p in parts])
        self.count_to_each([p.nbytes for p in parts])
        found = [theirs[self.rank] for theirs in sent]
        self.count_from_each([part.nbytes for part in found])
        return found

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Give root's array on all ranks."""
        value = self.swap(f"broadcast {root}", x)[root]
        if value is None:
            raise RuntimeError("the root of a broadcast brings no array")
        if self.rank == root:
            self.count_to_all(value.nbytes)
        else:
            self.bytes_received += value.nbytes
        return np.array(value, copy=True)

    def post(self, wire: Array, to: int) -> None:
        """Lay a message into the box of a rank."""
        self.count_to_one(wire.nbytes, to)
        self._world.boxes.put(self.rank, wire, to)

    def arrived(self) -> list[Message]:
        """Empty this rank's box, after the others had a chance to run."""
        self._world.pause(self.rank)
        return self.count_letters(self._world.boxes.take(self.rank))

    def flush(self) -> list[Message]:
        """Empty the box when all have posted."""
        self.swap("flush", None)
        return self.count_letters(self._world.boxes.take(self.rank))

    def barrier(self) -> None:
        """Wait for all."""
        self.swap("barrier", None)

    def agree(self, error: Exception | None) -> None:
        """Raise the first rank's error on all ranks, or return."""
        raise_first(self.swap("agree", error), error)

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> ThreadNeighbours:
        """Make a graph; the longest wait is that of all verbs, set in `spmd`."""
        return ThreadNeighbours(self, outgoing)


def single() -> ThreadComm:
    """Give the only rank of a world of one: every verb returns at once."""
    return ThreadComm(0, ThreadWorld(1, 60.0))


def spmd(size: int, main: Callable[[Comm], R], timeout: float = 60.0) -> list[R]:
    """Run `main` as `size` ranks in threads and give their results by rank.

    Where ranks raise, the error of the lowest of them is raised; a rank that returns while others still call verbs
    is a mismatch, too.
    """
    return run_in(ThreadWorld(size, timeout), main)


def run_in(world: ThreadWorld, main: Callable[[Comm], R]) -> list[R]:
    """Do as `spmd` in a world of one's own."""
    size = world.size
    results: list[Any] = [None] * size
    errors: dict[int, BaseException] = {}

    def run(rank: int) -> None:
        comm = ThreadComm(rank, world)
        try:
            world.enter(rank)
            results[rank] = main(comm)
            comm.swap("return", None)
        except threading.BrokenBarrierError as error:
            errors[size + rank] = error  # the others' fault, or a timeout
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
    """An exchange that is over when it is started: between threads there is nothing to overlap."""

    def __init__(self, received: dict[int, Array]) -> None:
        self.received = received

    def poll(self) -> bool:
        """It is done."""
        return True

    def wait(self) -> dict[int, Array]:
        """Give what was received."""
        return self.received


class ThreadNeighbours(Edges):
    """The neighbours of one thread. All ranks meet in each exchange, so a rank that leaves ends the others."""

    def __init__(self, comm: ThreadComm, outgoing: Sequence[int]) -> None:
        super().__init__(comm, outgoing, sources_of(comm, outgoing))
        self._comm = comm

    def exchange(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Send an array to all out-neighbours; give what the in-neighbours sent."""
        return all_equal(self._swap("exchange", np.asarray(x), tag), x)

    def start_exchange(self, x: Array, tag: int = 0) -> ThreadExchange:
        """Exchange at once."""
        return ThreadExchange(self.exchange(x, tag))

    def exchange_any(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Do as `exchange`; lengths of axis 0 may differ."""
        return self._swap("exchange_any", np.atleast_1d(x), tag)

    def _swap(self, verb: str, x: Array, tag: int) -> dict[int, Array]:
        wires = self._comm.swap(f"{verb} {tag:#x}", seal(x, tag))
        self.count(x.nbytes)
        return self.opened([wires[source] for source in self.incoming], x, tag)
