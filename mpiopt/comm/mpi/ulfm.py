"""The ranks that are left when others die: MPI's user-level failure mitigation (ULFM, Open MPI 5 `--with-ft ulfm`).

W. Bland et al., "Post-failure recovery of MPI communication capability", Int. J. High Perf. Comp. Appl. 27 (2013):
a lost rank is an error and not the end; Revoke lets all ranks see one, Shrink gives the survivors, and Agree tells
the same to all of them, whoever dies meanwhile.
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

from mpiopt.comm.base import Comm
from mpiopt.comm.errors import RankLost
from mpiopt.comm.membership import AGAIN, LOST, Assignment, SilenceMonitor, seats
from mpiopt.comm.mpi.comm import MpiComm, met
from mpiopt.core.processes import remove, segments

R = TypeVar("R")
DONE, EVERY = 1 << 16, (1 << 17) - 1  # bits of an agreement: who has an exit code; what a rank brings that waits
POLL = 0.002  # seconds between two looks of a rank that waits for an agreement
PATIENCE = 20.0  # seconds that a rank which failed by itself waits for the others
_KEPT: list[Any] = []  # buffers of exchanges that were broken off: MPI may still write there


class UlfmCrew:
    """All ranks that are alive; see `mpiopt.comm.membership.Membership`.

    A thread of its own ends this process, and so the job, where a failure is known and nothing came of it in `limit`
    seconds, or in three times the longest silence before: nobody waits for ever, nor gives up on a rank that works,
    and the launcher starts again from the checkpoint.
    """

    def __init__(self, world: MPI.Intracomm, limit: float) -> None:
        self._world, self._working, self._limit = world, world, limit
        self._seat, self._seats, self._wanted = -1, 0, 0  # 0 seats: nobody has worked yet
        self._made: list[list[MPI.Comm]] = []  # by this muster
        self._open_last: MpiComm | None = None
        self._broken = False
        self._fault: Exception | None = None  # this rank's own
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def first(self) -> bool:
        """Whether this is the first of the ranks that are alive."""
        return bool(self._world.rank == 0)

    def everyone(self) -> MpiComm:
        """Give a communicator of all ranks, for what is not begun again when one is lost."""
        comm = self._settled(lambda: self._open(self._world.Dup()))
        comm.crew, self._broken = self, False
        return comm

    def muster(self, spares: Callable[[Comm], int]) -> Assignment:
        """Give each living rank its place, as often as it takes."""
        comm, wanted, given, lost = self._settled(lambda: self._placed(spares))
        self._seat, self._seats, self._wanted = given, wanted, wanted
        return Assignment(comm, lost)

    def _settled(self, make: Callable[[], R]) -> R:
        """Make something with all ranks that are alive, as often as it takes for all of them to have it."""
        while True:
            if self._broken:
                self._world = self._working = cast(MPI.Intracomm, self._world.Shrink())
            self._made, self._broken = [[self._world]], True
            try:
                made = make()
            except (MPI.Exception, RankLost) as error:
                self.lost(error)
                self.agree(LOST)
                continue
            if self.agree(0) == 0:
                return made

    def _placed(self, spares: Callable[[Comm], int]) -> tuple[MpiComm | None, int, int, tuple[int, ...]]:
        world = self._world
        wanted = self._wanted
        if not wanted:
            everyone = self._open(world)
            wanted = max(1, world.size - spares(everyone))
        held = np.empty(world.size, np.int64)
        world.Allgather(np.array([self._seat]), held)
        lost = tuple(seat for seat in range(self._seats) if seat not in held)
        wanted = min(wanted, world.size)
        given = seats(held.tolist(), wanted)[world.rank]
        self._working = cast(MPI.Intracomm, world.Split(int(given < 0), max(given, 0)))
        self._made.append([self._working])
        return (self._open(self._working) if given >= 0 else None), wanted, given, lost

    def _open(self, raw: MPI.Intracomm) -> MpiComm:
        comm = MpiComm(raw, tolerant=True)
        self._made.append(comm.communicators)
        self._open_last = comm
        return comm

    def lost(self, error: Exception) -> bool:
        """Say whether the error is MPI's, or a rank of ours is known to be dead; then let all others see one."""
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

    def agree(self, code: int) -> int:
        """Give the exit code of all working ranks, 1 where they differ; LOST if one of them brings that."""
        # Bits that all ranks set survive: the code and its complement show whether all codes were equal.
        return _verdict(self._agreed(DONE | code | (~code & 0xFF) << 8 if code != LOST else 0, code))

    def wait(self) -> int:
        """Wait for the others' agreement."""
        return _verdict(self._agreed(EVERY, 0))

    def _agreed(self, bits: int, code: int) -> int:
        began = time.monotonic()
        while True:
            both = np.array([bits], np.intc)
            try:
                request = self._world.Iagree(both)
                while not request.Test():
                    time.sleep(POLL)
                    if code > 0 and code in (1, 2) and time.monotonic() - began > PATIENCE:
                        self._give_up()
                return int(both[0])
            except MPI.Exception:  # on all ranks alike, while one of them has not seen all failures
                self._world.Ack_failed(self._world.size)

    def _give_up(self) -> None:
        """End this process for a fault of its own, while the others are elsewhere: they lose it."""
        if self._fault is not None:
            traceback.print_exception(self._fault)
        print("mpiopt: this rank failed alone and ends; the others go on without it", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)  # mpirun would end all ranks for one that exits

    def met(self, patience: float) -> bool:
        """Say whether all ranks that are alive come here; where they cannot, since more are lost, they will end."""
        try:
            return met(self._world, patience)
        except MPI.Exception:
            return True

    def leave(self, code: int) -> None:
        """End this process; what is printed is seen to. MPI's own end may hang after a failure."""
        sys.stdout.flush()
        sys.stderr.flush()
        watchdog = threading.Timer(5.0, os._exit, [code])
        watchdog.daemon = True
        watchdog.start()
        with contextlib.suppress(MPI.Exception):
            self._world.Barrier()
        remove(segments())  # of dead ranks as well: MPI's own end is left out
        os._exit(code)

    def _watch(self) -> None:
        seen, since = self._working, time.monotonic()
        pulse = SilenceMonitor(since=since)
        while True:
            time.sleep(0.5)
            now = time.monotonic()
            if self._open_last is not None:
                pulse.beat(self._open_last.messages, now)
            if self._working is not seen or not _failed(seen):
                seen, since = self._working, now
            elif now - since > pulse.patience(self._limit):
                told = f"mpiopt: a rank was lost {now - since:.0f} s ago and nothing has come of it; this one ends"
                print(told, file=sys.stderr, flush=True)
                os._exit(AGAIN)


def _verdict(bits: int) -> int:
    if bits == EVERY or not bits & DONE:  # nobody is left that works; or one rank has lost another
        return LOST
    code, other = bits & 0xFF, bits >> 8 & 0xFF
    return code if code ^ other == 0xFF else 1


def _failed(comm: MPI.Intracomm) -> int:
    """Count the ranks of a communicator that are known to be dead."""
    try:
        group = comm.Get_failed()
    except MPI.Exception:
        return 1
    count = int(group.size)
    group.Free()
    return count


def keep_buffers(traceback: TracebackType | None) -> None:
    """Keep what the verbs had in their hands when an error broke them off: requests may still be under way."""
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").startswith("mpiopt.comm.base."):
            _KEPT.append(list(traceback.tb_frame.f_locals.values()))
        traceback = traceback.tb_next
