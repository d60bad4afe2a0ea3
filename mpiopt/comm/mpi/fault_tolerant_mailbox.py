"""Mail between ranks of which some may die: over MPI with ULFM (Open MPI 5, mpirun --with-ft ulfm).

A death is an error of whatever is under way to or from that rank: it is forgotten, and the rank is not spoken to any
more. Nothing here waits, so nothing hangs. Point-to-point only: no collective call survives a death.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array, Message

ENABLED = "OMPI_MCA_mpi_ft_enable"  # what mpirun --with-ft ulfm says to the ranks


def survives(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether the other ranks live on where one is killed."""
    return environment.get(ENABLED, "").lower() in ("1", "true") and hasattr(MPI.Comm, "Get_failed")


class SturdyMail:
    """`post` and `arrived` as those of `Comm`; make it while all ranks are alive."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = comm.rank, comm.size
        self.lost: set[int] = set()  # ranks that are dead, as far as MPI has noticed
        self._sends: dict[int, deque[tuple[MPI.Request, Array]]] = {r: deque() for r in range(comm.size)}
        self._receives: dict[int, tuple[MPI.Request, Array]] = {}
        self._kept: list[Array] = []  # buffers of sends that failed: MPI may still hold them

    def post(self, wire: Array, to: int) -> None:
        """Send `wire` (uint8), which must not be changed any more; to the dead it is lost."""
        if to in self.lost:
            return
        try:
            self._sends[to].append((self._comm.Isend([wire, MPI.BYTE], to), wire))
        except MPI.Exception:
            self._lose(to)

    def arrived(self) -> list[Message]:
        """Take what is here, in the order of posting between two ranks."""
        letters: list[Message] = []
        for rank in range(self.size):
            if rank != self.rank and rank not in self.lost:
                try:
                    self._forget_sent(rank)
                    letters += self._from(rank)
                except MPI.Exception:
                    self._lose(rank)
        return letters

    def _from(self, source: int) -> list[Message]:
        letters: list[Message] = []
        while True:
            if source not in self._receives:
                status = MPI.Status()
                message = self._comm.Improbe(source, MPI.ANY_TAG, status)
                if message is None:
                    return letters
                wire = np.empty(status.Get_count(MPI.BYTE), np.uint8)
                self._receives[source] = message.Irecv([wire, MPI.BYTE]), wire
            request, wire = self._receives[source]
            if not request.Test():
                return letters
            del self._receives[source]
            letters.append((source, wire))

    def _forget_sent(self, to: int) -> None:
        sent = self._sends[to]
        while sent and sent[0][0].Test():
            sent.popleft()

    def _lose(self, rank: int) -> None:
        self.lost.add(rank)
        self._kept += [wire for _, wire in self._sends[rank]]
        if rank in self._receives:
            self._kept.append(self._receives.pop(rank)[1])
