"""The verbs between threads of which only one runs at a time: many short rounds without a crowd at a barrier.

A rank works until it needs the others or looks for mail, then hands on to the next one. For rounds of some
microseconds on many ranks this is several times as fast as `threads.spmd`; there is nothing to gain from more than
one core.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from mpiopt.comm.base import Comm
from mpiopt.comm.threads import ThreadWorld, run_in, until

R = TypeVar("R")


class Turns(ThreadWorld):
    """Ranks take turns in rank order. What they bring lies in one of two rows of slots, used in alternation.

    A rank that comes to the next meeting has read the one before, so two rows suffice.
    """

    def __init__(self, size: int, timeout: float) -> None:
        super().__init__(size, timeout)
        self.rows: list[list[Any]] = [[None] * size, [None] * size]
        self.meetings = [0] * size
        self.turn = [threading.Lock() for _ in range(size)]
        self.broken = False
        for lock in self.turn[1:]:
            lock.acquire()

    def enter(self, rank: int) -> None:
        """Wait for the first turn."""
        self._await(rank)

    def meet(self, rank: int, brought: Any) -> list[Any]:
        """Lay it down, let the others run until all have come to this meeting, and give what they brought."""
        row = self.rows[self.meetings[rank] % 2]
        self.meetings[rank] += 1
        row[rank] = brought
        until(lambda: min(self.meetings) >= self.meetings[rank], self, rank)
        return list(row)

    def pause(self, rank: int) -> None:
        """Hand on, and go on with the next turn."""
        self._hand_on(rank)
        self._await(rank)

    def leave(self, rank: int) -> None:
        """Hand on for good."""
        self._hand_on(rank)

    def abort(self) -> None:
        """Let all ranks fail that wait or will wait."""
        self.broken = True

    def _hand_on(self, rank: int) -> None:
        lock = self.turn[(rank + 1) % self.size]
        if lock.locked():
            lock.release()

    def _await(self, rank: int) -> None:
        if not self.turn[rank].acquire(timeout=self.timeout) or self.broken:
            self.broken = True
            raise threading.BrokenBarrierError


def spmd(size: int, main: Callable[[Comm], R], timeout: float = 60.0) -> list[R]:
    """Do as `threads.spmd`, one rank at a time; `timeout` is the longest wait for a turn, in seconds."""
    return run_in(Turns(size, timeout), main)
