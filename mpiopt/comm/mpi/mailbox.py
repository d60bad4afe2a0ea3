"""Point-to-point messages over MPI that no rank waits for, on a communicator of their own."""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array, Message

LAST, MORE = 0, 1  # tags: a message longer than a piece is sent in several

Sends = list[deque[tuple[MPI.Request, Array]]]
_ORPHANS: list[Sends] = []  # of mailboxes that are gone: MPI may still read the buffers


class MpiMailbox:
    """Messages sent and received; the buffers of sends under way are kept here.

    Messages between two ranks keep their order: all receives match any tag, so none can overtake another.
    """

    def __init__(self, comm: MPI.Intracomm, piece: int) -> None:
        self._comm, self._piece = comm, piece
        self._under_way: Sends = [deque() for _ in range(comm.size)]
        weakref.finalize(self, _keep_orphans, self._under_way)
        self._partial: dict[int, list[Array]] = {}  # by source: pieces of a message that has not arrived whole
        self._sent = np.zeros(comm.size, np.int64)
        self._received = np.zeros(comm.size, np.int64)

    def send(self, payload: Array, to: int) -> None:
        """Send a copy of a message and return at once."""
        self._forget_sent()
        kept = np.array(payload, np.uint8, copy=True).reshape(-1)
        self._sent[to] += 1
        for start in range(0, max(1, kept.size), self._piece):
            part = kept[start : start + self._piece]
            tag = MORE if start + self._piece < kept.size else LAST
            self._under_way[to].append((self._comm.Isend([part, MPI.BYTE], to, tag), kept))

    def receive_available(self) -> list[Message]:
        """Return the messages that have arrived."""
        self._forget_sent()
        messages: list[Message] = []
        status = MPI.Status()
        while (message := self._comm.Improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)) is not None:
            part = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            source, tag = status.Get_source(), status.Get_tag()
            message.Recv([part, MPI.BYTE])
            parts = self._partial.pop(source, [])
            parts.append(part)
            if tag == MORE:
                self._partial[source] = parts
                continue
            self._received[source] += 1
            messages.append(Message(source, part if len(parts) == 1 else np.concatenate(parts)))
        return messages

    def drain(self) -> list[Message]:
        """Receive all messages still under way to this rank; collective. Afterwards none is under way anywhere."""
        expected = np.empty_like(self._sent)
        self._comm.Alltoall(self._sent, expected)
        messages: list[Message] = []
        while (self._received < expected).any():
            messages += self.receive_available()
        for sent in self._under_way:
            MPI.Request.Waitall([request for request, _ in sent])
            sent.clear()
        return messages

    def _forget_sent(self) -> None:
        for sent in self._under_way:
            while sent and sent[0][0].Test():
                sent.popleft()
        _forget_orphans()


def _keep_orphans(sends: Sends) -> None:
    if any(sends):
        _ORPHANS.append(sends)


def _forget_orphans() -> None:
    for sent in (sent for sends in _ORPHANS for sent in sends):
        while sent and _ended(sent[0][0]):
            sent.popleft()
    _ORPHANS[:] = [sends for sends in _ORPHANS if any(sends)]


def _ended(request: MPI.Request) -> bool:
    try:
        return bool(request.Test())
    except MPI.Exception:  # the receiver was lost: the message has ended, too
        return True
