"""A job that outlives some of its ranks: who works, who waits, and work begun again with those that are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mpiopt.comm.base import Comm

LOST = -1  # in place of an exit code: the work has to be done again
AGAIN = 76  # exit code: ranks were lost and the job could not go on in place; start it again from its checkpoint
BREATH, MOST = 3.0, 10.0  # times the longest silence that there was; times what is waited at least
ALARMS = 3  # errors that looked like lost ranks, one after another, although none was lost


class RollBack(Exception):
    """All ranks are alive and agree to begin again from the last state that can be trusted."""


@dataclass(frozen=True)
class Assignment:
    """Where a rank works: its communicator, None where it waits; and which ranks of the one before are gone."""

    comm: Comm | None
    lost: tuple[int, ...] = ()


@dataclass
class SilenceMonitor:
    """How long the ranks have gone without a message while all were alive: a round, or the reading of the rows."""

    messages: int = 0
    since: float = 0.0  # seconds, when the last one was seen
    longest: float = 0.0

    def beat(self, messages: int, now: float) -> None:
        """Look at a counter that grows with every message."""
        if messages != self.messages:
            self.longest = max(self.longest, now - self.since)
            self.messages, self.since = messages, now

    def patience(self, least: float) -> float:
        """Give the seconds after which silence means that nothing will come any more, MOST times `least` at most."""
        return min(max(least, BREATH * self.longest), MOST * least)


class Membership(Protocol):
    """The ranks of a job that are alive. All verbs are collective over them, but for `lost`."""

    def muster(self, spares: Callable[[Comm], int]) -> Assignment:
        """Give every rank its place; `spares` says, once, how many ranks wait, from what all ranks agree on."""
        ...

    def lost(self, error: Exception) -> bool:
        """Say whether this error means that a rank was lost; if so, all other ranks will see one soon."""
        ...

    def agree(self, code: int) -> int:
        """Give the exit code with which all working ranks came here, or LOST if one came with that."""
        ...

    def wait(self) -> int:
        """Wait, without a place, for the working ranks' `agree`, and give the same."""
        ...


class FixedMembership:
    """A crew whose ranks live as long as their communicator."""

    def __init__(self, comm: Comm) -> None:
        self._comm = comm

    def muster(self, spares: Callable[[Comm], int]) -> Assignment:
        """Give the communicator."""
        return Assignment(self._comm)

    def lost(self, error: Exception) -> bool:
        """Say no: an error is an error."""
        return False

    def agree(self, code: int) -> int:
        """Give the code: all ranks have the same."""
        return code

    def wait(self) -> int:
        """Nobody waits here."""
        raise RuntimeError("a steady crew has no spare ranks")


def run_elastic(crew: Membership, spares: Callable[[Comm], int], work: Callable[[Assignment], int]) -> int:
    """Do `work`, again with those that are left as often as ranks are lost; give its exit code, on all ranks alike.

    Raises
    ------
    RuntimeError
        If work fails again and again as if a rank were lost, and none is.
    """
    alarms = 0
    while True:
        post = crew.muster(spares)
        code, error = (crew.wait(), None) if post.comm is None else tried(crew, post, work)
        if post.comm is not None:
            code = crew.agree(code)
        if code != LOST and error is not None:
            raise error
        if code != LOST:
            return code
        alarms = 0 if post.lost else alarms + 1
        if alarms > ALARMS:
            raise RuntimeError(f"the work failed {alarms} times as if a rank were lost, but all are alive: {error!r}")


def tried(crew: Membership, post: Assignment, work: Callable[[Assignment], int]) -> tuple[int, Exception | None]:
    """Give the exit code of the work, or LOST; and the error if it is one that the caller should raise."""
    try:
        return work(post), None
    except RollBack:
        return LOST, None
    except Exception as error:
        return (LOST, None) if crew.lost(error) else (2, error)


def seats(held: Sequence[int], wanted: int) -> list[int]:
    """Give each rank its seat, -1 for none, from the seats held before (-1: none); `wanted` of them if it can be.

    Who has a seat keeps it, and who waits takes the first free one; where one stays empty, those behind it move up.
    """
    free = [seat for seat in range(wanted) if seat not in held]
    taken = [free.pop(0) if seat < 0 and free else seat for seat in held]
    order = sorted(seat for seat in taken if seat >= 0)
    return [order.index(seat) if seat >= 0 else -1 for seat in taken]
