"""What actors say to one another, and its wire form: five numbers, then the vector."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[Any]
TYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))
HEAD = 5


class Kind(enum.IntEnum):
    """`number` and `amount` of each kind; a weights' version is the number of updates made to it."""

    VIEW = 1  # registry to all: who has which role; number of the view
    STOP = 2  # registry to all: the end
    BEAT = 3  # everybody to the registry: alive; number of the life, counters, amount 1: the last one
    STRIKE = 4  # registry to a victim: die; milliseconds of silence
    APPLIED = 5  # server to registry: version after an update, count of gradients in it; the step s
    SNAPSHOT = 6  # server to registry: version, weights
    WEIGHTS = 7  # server or store: version, term or question; no vector: there is none, or it is known
    GRADIENT = 8  # worker to server: version, term; store to server: version, place in the queue
    REPLICA = 9  # server to the next of its chain: version, weights
    ACK = 10  # and its answer: version
    SAVE = 11  # to a store: version, weights
    FETCH = 12  # to a store: version that is known, question
    APPEND = 13  # worker to store: version at which the gradient was taken
    TAKE = 14  # server to store: question; answered when gradients are pending
    BATCH = 15  # the answer: version, how many are pending, weights
    READ = 16  # server to store: first place, how many
    COMMIT = 17  # server to store: version that it started from, gradients used up, new weights


class Message(NamedTuple):
    """One message."""

    kind: Kind
    number: int = 0
    amount: int = 0  # the second number of its kind
    vector: Vector | None = None

    @property
    def nbytes(self) -> int:
        """Bytes on the wire."""
        return 8 * HEAD + (0 if self.vector is None else self.vector.nbytes)


Letter = tuple[int, Message]  # who sent it, and what


def encode(message: Message) -> NDArray[np.uint8]:
    """Give the wire."""
    vector = message.vector
    kind = -1 if vector is None else TYPES.index(vector.dtype)
    head = np.array([message.kind, message.number, message.amount, kind, 0], np.int64).view(np.uint8)
    return head if vector is None else np.concatenate([head, vector.view(np.uint8)])


def decode(wire: NDArray[np.uint8]) -> Message:
    """Give back what `encode` took."""
    kind, number, amount, dtype, _ = wire[: 8 * HEAD].view(np.int64).tolist()
    vector = None if dtype < 0 else wire[8 * HEAD :].view(TYPES[dtype])
    return Message(Kind(kind), number, amount, vector)
