"""Mail over MPI: point-to-point messages that nobody waits for, on a communicator of their own."""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array, Message

LAST, MORE = 0, 1  # tags: a message longer than a piece travels in several

Sends = list[deque[tuple[MPI.Request, Array]]]
_LEFT: list[Sends] = []  # of communicators that are gone: MPI may still read the buffers


class MpiMailbox:
    """Sends under way keep their buffers here; what comes in is taken in order of arrival.

    Between two ranks the order of posting is kept: all receives match any tag, so MPI lets none overtake.
    """

    def __init__(self, comm: MPI.Intracomm, piece: int) -> None:
        self._comm, self._piece = comm, piece
        self._under_way: Sends = [deque() for _ in range(comm.size)]
        weakref.finalize(self, _LEFT.append, self._under_way)
        self._begun: dict[int, list[Array]] = {}  # by source: pieces of a message whose end is not here yet
        self._posted = np.zeros(comm.size, np.int64)
        self._received = np.zeros(comm.size, np.int64)

    def post(self, wire: Array, to: int) -> None:
        """Send a copy of `wire`."""
        self._forget_sent()
        kept = np.array(wire, np.uint8, copy=True).reshape(-1)
        self._posted[to] += 1
        for start in range(0, max(1, kept.size), self._piece):
            part = kept[start : start + self._piece]
            tag = MORE if start + self._piece < kept.size else LAST
            self._under_way[to].append((self._comm.Isend([part, MPI.BYTE], to, tag), kept))

    def arrived(self) -> list[Message]:
        """Take what is here."""
        self._forget_sent()
        letters: list[Message] = []
        status = MPI.Status()
        while (message := self._comm.Improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)) is not None:
            part = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            source, tag = status.Get_source(), status.Get_tag()
            message.Recv([part, MPI.BYTE])
            parts = self._begun.pop(source, [])
            parts.append(part)
            if tag == MORE:
                self._begun[source] = parts
                continue
            self._received[source] += 1
            letters.append((source, part if len(parts) == 1 else np.concatenate(parts)))
        return letters

    def flush(self) -> list[Message]:
        """Take all that is still under way to this rank; collective. Afterwards nothing is, anywhere."""
        told = np.empty_like(self._posted)
        self._comm.Alltoall(self._posted, told)
        letters: list[Message] = []
        while (self._received < told).any():
            letters += self.arrived()
        for sent in self._under_way:
            MPI.Request.Waitall([request for request, _ in sent])
            sent.clear()
        return letters

    def _forget_sent(self) -> None:
        for sent in self._under_way:
            while sent and sent[0][0].Test():
                sent.popleft()
        _forget_left()


def _forget_left() -> None:
    for sent in (sent for sends in _LEFT for sent in sends):
        while sent and _ended(sent[0][0]):
            sent.popleft()
    _LEFT[:] = [sends for sends in _LEFT if any(sends)]


def _ended(request: MPI.Request) -> bool:
    try:
        return bool(request.Test())
    except MPI.Exception:  # a rank was lost: for a message that nobody waits for an end like another
        return True
