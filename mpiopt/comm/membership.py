"""A job that survives the loss of ranks: which ranks work, which wait as spares, and how work is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mpiopt.comm.base import Assignment, Comm, Membership

LOST = -1  # in place of an exit code: the work has to be done again
AGAIN = 76  # exit code: ranks were lost and the job could not continue; start it again from its checkpoint
WAIT_FACTOR = 3.0  # wait this many times the longest silence that was observed,
WAIT_LIMIT = 10.0  # and at most this many times the minimum wait
FALSE_ALARMS = 3  # errors in a row that look like lost ranks, although no rank is lost, before the job gives up


class RollBack(Exception):
    """All ranks are alive and agree to start again from the last state that can be trusted."""


@dataclass
class SilenceMonitor:
    """The longest time without a message while all ranks were alive: a round, or the reading of the rows."""

    messages: int = 0
    since: float = 0.0  # seconds, when the last message was observed
    longest: float = 0.0  # seconds

    def observe(self, messages: int, now: float) -> None:
        """Take a counter that grows with every message, at the time `now` in seconds."""
        if messages != self.messages:
            self.longest = max(self.longest, now - self.since)
            self.messages, self.since = messages, now

    def limit(self, least: float) -> float:
        """Return the seconds of silence after which no message will come; `least` is the minimum."""
        return min(max(least, WAIT_FACTOR * self.longest), WAIT_LIMIT * least)


class FixedMembership:
    """The membership of a communicator that ends when one of its ranks dies."""

    def __init__(self, comm: Comm) -> None:
        self._comm = comm

    def assign_ranks(self, spares: Callable[[Comm], int]) -> Assignment:
        """Return the communicator: every rank works."""
        return Assignment(self._comm)

    def is_rank_loss(self, error: Exception) -> bool:
        """Return False: no rank can be lost alone."""
        return False

    def agree_on_code(self, code: int) -> int:
        """Return the code: all ranks have the same."""
        return code

    def await_code(self) -> int:
        """Refuse: there are no spare ranks."""
        raise RuntimeError("a communicator of fixed size has no spare ranks")


def run_elastic(membership: Membership, spares: Callable[[Comm], int], work: Callable[[Assignment], int]) -> int:
    """Run `work`, again on the ranks that are left whenever ranks are lost, and return its exit code on all ranks.

    Parameters
    ----------
    membership : Membership
        The ranks that are alive.
    spares : callable
        Computes how many ranks wait as spares, the same on all ranks.
    work : callable
        The work of a rank that has a place; returns an exit code.

    Returns
    -------
    int
        The exit code that all working ranks agree on.

    Raises
    ------
    RuntimeError
        If the work fails repeatedly as if a rank were lost, and none is.
    """
    alarms = 0
    while True:
        assignment = membership.assign_ranks(spares)
        if assignment.comm is None:
            code, error = membership.await_code(), None
        else:
            code, error = _try_work(membership, assignment, work)
            code = membership.agree_on_code(code)
        if code != LOST and error is not None:
            raise error
        if code != LOST:
            return code
        alarms = 0 if assignment.lost else alarms + 1
        if alarms > FALSE_ALARMS:
            raise RuntimeError(f"the work failed {alarms} times as if a rank were lost, but all are alive: {error!r}")


def _try_work(
    membership: Membership, assignment: Assignment, work: Callable[[Assignment], int]
) -> tuple[int, Exception | None]:
    """Return the exit code of the work, or LOST; and the error if the caller has to raise it."""
    try:
        return work(assignment), None
    except RollBack:
        return LOST, None
    except Exception as error:
        return (LOST, None) if membership.is_rank_loss(error) else (2, error)


def new_ranks(held: Sequence[int], size: int) -> list[int]:
    """Return each process's rank among the `size` working ones, -1 for a spare, from the ranks held before.

    A process keeps its rank, and a spare (-1) takes the first free one. If a rank stays free, the higher ones move
    down.
    """
    free = [rank for rank in range(size) if rank not in held]
    taken = [free.pop(0) if rank < 0 and free else rank for rank in held]
    order = sorted(rank for rank in taken if rank >= 0)
    return [order.index(rank) if rank >= 0 else -1 for rank in taken]
