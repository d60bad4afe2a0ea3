"""The verbs between threads of one process, for laws, studies and tests: a mismatch is an error, not a hang."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from mpiopt.comm import Array, Comm

R = TypeVar("R")


class _World:
    def __init__(self, size: int, timeout: float) -> None:
        self.size = size
        self.slots: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=timeout)


class _Done:
    def __init__(self, result: Array) -> None:
        self.result = result

    def poll(self) -> bool:
        return True

    def wait(self) -> Array:
        return self.result


class ThreadComm:
    """One rank of `spmd`; all verbs are built on one swap of values at a barrier."""

    def __init__(self, rank: int, world: _World) -> None:
        self.rank, self.size, self._world = rank, world.size, world

    def _swap(self, verb: str, x: Any) -> list[Any]:
        w = self._world
        w.slots[self.rank] = (verb, x)
        w.barrier.wait()
        seen = list(w.slots)
        w.barrier.wait()
        if len({v for v, _ in seen}) > 1:
            raise RuntimeError(f"ranks disagree on the verb: {[v for v, _ in seen]}")
        return [value for _, value in seen]

    def sum(self, x: Array) -> Array:
        """Sum over the ranks in rank order."""
        parts = self._swap("sum", x.copy())
        total: Array = parts[0].copy()
        for part in parts[1:]:
            total += part
        return total

    def start_sum(self, x: Array) -> _Done:
        """Sum at once: between threads there is nothing to overlap."""
        return _Done(self.sum(x))

    def max(self, x: Array) -> Array:
        """Maximum over the ranks."""
        largest: Array = np.maximum.reduce(self._swap("max", x.copy()))
        return largest

    def allgather(self, x: Array) -> list[Array]:
        """Every rank's array in rank order."""
        return [part.copy() for part in self._swap("allgather", x.copy())]

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Exchange one array per pair of ranks."""
        return [sent[self.rank] for sent in self._swap("alltoall", [p.copy() for p in parts])]

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Give root's array on all ranks."""
        value = self._swap("broadcast", x)[root]
        return np.array(value, copy=True)

    def barrier(self) -> None:
        """Wait for all."""
        self._swap("barrier", None)

    def agree(self, error: Exception | None) -> None:
        """Raise the first rank's error on all ranks, or return."""
        raise_first(self._swap("agree", error))


def raise_first(errors: Sequence[Exception | None]) -> None:
    """Raise the error of the lowest rank that has one; name the rank where not all of them failed alike."""
    for rank, error in enumerate(errors):
        if error is None:
            continue
        if all(e is not None and str(e) == str(error) for e in errors):
            raise type(error)(str(error))
        raise type(error)(f"rank {rank}: {error}")


def spmd(size: int, main: Callable[[Comm], R], timeout: float = 60.0) -> list[R]:
    """Run `main` as `size` ranks in threads and give their results by rank; the first error wins."""
    world = _World(size, timeout)
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = main(ThreadComm(rank, world))
        except threading.BrokenBarrierError as error:
            errors.append(error)
        except BaseException as error:
            errors.insert(0, error)
            world.barrier.abort()

    threads = [threading.Thread(target=run, args=(r,)) for r in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
