"""Point-to-point messages between ranks that may die, over MPI with ULFM (Open MPI 5, mpirun --with-ft ulfm).

The death of a rank is an error of every send to it and receive from it. Such a call is dropped, and the rank gets no
more messages. No method waits, so none can hang. Collective calls are not used: none survives a death.
"""

from __future__ import annotations

import os
from collections import deque

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array, Message

ENABLED = "OMPI_MCA_mpi_ft_enable"  # set for the ranks by mpirun --with-ft ulfm


def survives() -> bool:
    """Return whether the other ranks live on when one is killed."""
    return os.environ.get(ENABLED, "").lower() in ("1", "true") and hasattr(MPI.Comm, "Get_failed")


class FaultTolerantMailbox:
    """The methods `send` and `receive_available` of `Comm`; make it while all ranks are alive."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = comm.rank, comm.size
        self.lost: set[int] = set()  # ranks that MPI knows to be dead
        self._sends: dict[int, deque[tuple[MPI.Request, Array]]] = {r: deque() for r in range(comm.size)}
        self._receives: dict[int, tuple[MPI.Request, Array]] = {}
        self._kept: list[Array] = []  # buffers of sends that failed: MPI may still hold them

    def send(self, payload: Array, to: int) -> None:
        """Send a message (uint8), which must not be changed afterwards; to a dead rank it is lost."""
        if to in self.lost:
            return
        try:
            self._sends[to].append((self._comm.Isend([payload, MPI.BYTE], to), payload))
        except MPI.Exception:
            self._lose(to)

    def receive_available(self) -> list[Message]:
        """Return the messages that have arrived; those of one rank in the order of sending."""
        messages: list[Message] = []
        for rank in range(self.size):
            if rank != self.rank and rank not in self.lost:
                try:
                    self._forget_sent(rank)
                    messages += self._from(rank)
                except MPI.Exception:
                    self._lose(rank)
        return messages

    def _from(self, source: int) -> list[Message]:
        messages: list[Message] = []
        while True:
            if source not in self._receives:
                status = MPI.Status()
                message = self._comm.Improbe(source, MPI.ANY_TAG, status)
                if message is None:
                    return messages
                payload = np.empty(status.Get_count(MPI.BYTE), np.uint8)
                self._receives[source] = message.Irecv([payload, MPI.BYTE]), payload
            request, payload = self._receives[source]
            if not request.Test():
                return messages
            del self._receives[source]
            messages.append(Message(source, payload))

    def _forget_sent(self, to: int) -> None:
        sent = self._sends[to]
        while sent and sent[0][0].Test():
            sent.popleft()

    def _lose(self, rank: int) -> None:
        self.lost.add(rank)
        self._kept += [payload for _, payload in self._sends[rank]]
        if rank in self._receives:
            self._kept.append(self._receives.pop(rank)[1])
