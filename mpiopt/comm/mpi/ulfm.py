"""The membership of a job whose ranks may die, by MPI's user-level failure mitigation (ULFM, Open MPI 5).

W. Bland et al., "Post-failure recovery of MPI communication capability", Int. J. High Perf. Comp. Appl. 27 (2013).
The loss of a rank is an error and does not end the job. Revoke makes all ranks see an error, Shrink makes a
communicator of the survivors, and Agree returns the same value on all of them, even if more ranks die meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Assignment, Comm
from mpiopt.comm.debug import debugged
from mpiopt.comm.errors import RankLost
from mpiopt.comm.membership import AGAIN, LOST, SilenceMonitor, new_ranks
from mpiopt.comm.mpi.comm import MpiComm, all_arrive
from mpiopt.core.processes import remove, segments

R = TypeVar("R")
HAS_CODE = 1 << 16  # bit of an agreement: this rank contributes an exit code
ALL_BITS = (1 << 17) - 1  # the contribution of a spare, which changes no agreement
POLL = 0.002  # seconds between two tests of an agreement
PATIENCE = 20.0  # seconds that a rank with an error of its own waits for the others
WATCH = 0.5  # seconds between two checks of the watchdog
LEAVE = 5.0  # seconds that the end of a process may take
_KEPT: list[Any] = []  # buffers of exchanges that an error has interrupted: MPI may still write there


class UlfmMembership:
    """All ranks that are alive; see `mpiopt.comm.base.Membership`.

    A watchdog thread ends this process, and so the job, if a failure is known and there is no progress for `limit`
    seconds, or for three times the longest silence before. So no rank waits for ever, no working rank is given up,
    and the launcher starts the job again from the checkpoint.
    """

    def __init__(self, world: MPI.Intracomm, limit: float) -> None:
        self._world, self._working, self._limit = world, world, limit
        self._rank = -1  # of this process among the working ones; -1: a spare
        self._size = 0  # working ranks of the last assignment; 0: there was none yet
        self._wanted = 0  # working ranks that the job wants
        self._made: list[list[MPI.Comm]] = []  # communicators of this assignment
        self._opened: MpiComm | None = None  # the last one
        self._broken = False
        self._fault: Exception | None = None  # an error of this rank alone
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def first(self) -> bool:
        """Whether this is the lowest of the ranks that are alive."""
        return bool(self._world.rank == 0)

    def everyone(self) -> MpiComm:
        """Return a communicator of all ranks, for work that is not tried again when a rank is lost."""
        comm = self._retry(lambda: self._open(self._world.Dup()))
        comm.membership, self._broken = self, False
        return comm

    def assign_ranks(self, spares: Callable[[Comm], int]) -> Assignment:
        """Return the place of this rank; repeat the assignment until it succeeds on all living ranks."""
        comm, self._wanted, self._rank, lost = self._retry(lambda: self._place(spares))
        self._size = self._wanted
        return Assignment(comm, lost)

    def _retry(self, make: Callable[[], R]) -> R:
        """Call `make` on all ranks that are alive until it succeeds on all of them."""
        while True:
            if self._broken:
                self._world = self._working = cast(MPI.Intracomm, self._world.Shrink())
            self._made, self._broken = [[self._world]], True
            try:
                made = make()
            except (MPI.Exception, RankLost) as error:
                self.is_rank_loss(error)
                self.agree_on_code(LOST)
                continue
            if self.agree_on_code(0) == 0:
                return made

    def _place(self, spares: Callable[[Comm], int]) -> tuple[Comm | None, int, int, tuple[int, ...]]:
        """Return the communicator of this rank, the working ranks, this rank among them, and the lost ones."""
        world = self._world
        size = self._wanted
        if not size:
            everyone = self._open(world)
            size = max(1, world.size - spares(everyone))
        held = np.empty(world.size, np.int64)
        world.Allgather(np.array([self._rank]), held)
        lost = tuple(rank for rank in range(self._size) if rank not in held)
        size = min(size, world.size)
        rank = new_ranks(held.tolist(), size)[world.rank]
        self._working = cast(MPI.Intracomm, world.Split(int(rank < 0), max(rank, 0)))
        self._made.append([self._working])
        return (debugged(self._open(self._working)) if rank >= 0 else None), size, rank, lost

    def _open(self, raw: MPI.Intracomm) -> MpiComm:
        comm = MpiComm(raw, tolerant=True)
        self._made.append(comm.communicators)
        self._opened = comm
        return comm

    def is_rank_loss(self, error: Exception) -> bool:
        """Return whether the error is MPI's, or a rank is known to be dead; if so, make all others see an error."""
        if not isinstance(error, MPI.Exception | RankLost) and not _failed(self._working):
            self._fault = error
            return False
        keep_buffers(error.__traceback__)
        for comm in [comm for made in self._made for comm in made]:
            try:
                comm.Revoke()
            except MPI.Exception:  # revoked already
                continue
        return True

    def agree_on_code(self, code: int) -> int:
        """Return the exit code of all working ranks, 1 if they differ, LOST if one of them contributes LOST."""
        # Bits that all ranks set survive: the code and its complement show whether all codes were equal.
        return _code_of(self._agree_on_bits(HAS_CODE | code | (~code & 0xFF) << 8 if code != LOST else 0, code))

    def await_code(self) -> int:
        """Wait as a spare for the exit code of the working ranks."""
        return _code_of(self._agree_on_bits(ALL_BITS, 0))

    def _agree_on_bits(self, bits: int, code: int) -> int:
        began = time.monotonic()
        while True:
            both = np.array([bits], np.intc)
            try:
                request = self._world.Iagree(both)
                while not request.Test():
                    time.sleep(POLL)
                    if code in (1, 2) and time.monotonic() - began > PATIENCE:
                        self._give_up()
                return int(both[0])
            except MPI.Exception:  # raised on all ranks alike, until each has acknowledged all failures
                self._world.Ack_failed(self._world.size)

    def _give_up(self) -> None:
        """End this process for an error of its own while the others continue; they see a lost rank."""
        if self._fault is not None:
            traceback.print_exception(self._fault)
        print("mpiopt: this rank failed alone and ends; the others continue without it", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)  # if it exited by itself, mpirun would end all ranks

    def all_arrive(self, patience: float) -> bool:
        """Return whether all living ranks call this within `patience` seconds; True if more ranks are lost."""
        try:
            return all_arrive(self._world, patience)
        except MPI.Exception:
            return True

    def leave(self, code: int) -> None:
        """End this process without MPI_Finalize, which may hang after a failure; what was printed is written."""
        sys.stdout.flush()
        sys.stderr.flush()
        watchdog = threading.Timer(LEAVE, os._exit, [code])
        watchdog.daemon = True
        watchdog.start()
        with contextlib.suppress(MPI.Exception):
            self._world.Barrier()
        remove(segments())  # also those of dead ranks: MPI_Finalize is left out
        os._exit(code)

    def _watch(self) -> None:
        working, since = self._working, time.monotonic()
        silence = SilenceMonitor(since=since)
        while True:
            time.sleep(WATCH)
            now = time.monotonic()
            if self._opened is not None:
                silence.observe(self._opened.messages, now)
            if self._working is not working or not _failed(working):
                working, since = self._working, now
            elif now - since > silence.limit(self._limit):
                text = f"mpiopt: a rank was lost {now - since:.0f} s ago and there was no recovery; this rank ends"
                print(text, file=sys.stderr, flush=True)
                os._exit(AGAIN)


def _code_of(bits: int) -> int:
    if bits == ALL_BITS or not bits & HAS_CODE:  # no working rank is left; or one rank has noticed a loss
        return LOST
    code, other = bits & 0xFF, bits >> 8 & 0xFF
    return code if code ^ other == 0xFF else 1


def _failed(comm: MPI.Intracomm) -> int:
    """Return how many ranks of a communicator are known to be dead."""
    try:
        group = comm.Get_failed()
    except MPI.Exception:
        return 1
    count = int(group.size)
    group.Free()
    return count


def keep_buffers(traceback: TracebackType | None) -> None:
    """Keep the buffers of the calls that an error has interrupted: MPI may still write into them."""
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").startswith("mpiopt.comm."):
            _KEPT.append(list(traceback.tb_frame.f_locals.values()))
        traceback = traceback.tb_next
