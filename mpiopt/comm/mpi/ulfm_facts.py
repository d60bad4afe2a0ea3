"""The five facts about ULFM on which recovery in place rests, tried on ranks of which the last is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from mpiopt.comm.mpi.comm import MpiComm

PATIENCE = 4.0  # seconds within which a fact must show itself; detection takes 0.03 to 0.3 s
LIMIT = 20  # seconds after which a rank that still waits ends itself
HEAD_START = 0.2  # seconds in which a rank begins to wait for a message that will not come


class UlfmFact(NamedTuple):
    """A fact and whether it holds here."""

    text: str
    holds: bool


def try_facts(comm: MpiComm) -> list[UlfmFact]:
    """Kill the last rank and try the facts on the others; they return the same list.

    Raises
    ------
    ValueError
        If there are fewer than three ranks.
    """
    if comm.size < 3:
        raise ValueError(f"ULFM needs at least 3 ranks to be tried, not {comm.size}; leave mpirun out")
    signal.alarm(LIMIT)
    world = comm.raw.Dup()
    world.Set_errhandler(MPI.ERRORS_RETURN)
    world.Barrier()
    if world.rank == world.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    seen = _fails(lambda: world.Allreduce(MPI.IN_PLACE, np.ones(1)))
    revoked = _revoked(world)
    left = world.Shrink()
    shrunk = left.size == world.size - 1
    agreed = left.Agree(3 if left.rank else 5) == (3 & 5)
    total = np.ones(1)
    left.Allreduce(MPI.IN_PLACE, total)
    mine = np.array([seen, revoked, shrunk, agreed, total[0] == left.size], int)
    left.Allreduce(MPI.IN_PLACE, mine, MPI.MIN)
    return [UlfmFact(text, bool(held)) for text, held in zip(TEXTS, mine, strict=True)]


TEXTS = (
    "the loss of a rank is an error on the others, and does not end them",
    "Revoke wakes a rank that waits for a message",
    "Shrink makes a communicator of those who are left",
    "Agree gives the same number on all of them",
    "they go on: their next sum is right",
)


def leave() -> None:
    """End this process at once: MPI's own end may hang after a loss."""
    os._exit(0)


def _fails(call: Callable[[], object]) -> bool:
    """Repeat a call until MPI reports an error; return whether it did in time."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            call()
        except MPI.Exception:
            return True
    return False


def _revoked(world: MPI.Intracomm) -> bool:
    """Rank 1 waits for rank 0, which revokes; return whether both saw it."""
    if world.rank == 0:
        time.sleep(HEAD_START)
        world.Revoke()
        return True
    if world.rank > 1:
        return _fails(world.Iprobe)
    waiting = world.Irecv(np.empty(1), 0)
    return _fails(waiting.Test)
