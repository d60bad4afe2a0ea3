"""The messages between actors, and how they are encoded: five integers, then the vector."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[Any]
TYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))
HEADER = 5  # integers before the vector


class MessageKind(enum.IntEnum):
    """What a message says; the comments name its sender, its receiver, and its `number`, `amount` and vector.

    The version of weights is the number of updates made to them.
    """

    VIEW = 1  # registry to all: number of the view; the view
    STOP = 2  # registry to all: the run is over
    HEARTBEAT = 3  # all to registry: incarnation, 1 for the last heartbeat; counters
    KILL = 4  # registry to one rank: -, milliseconds of silence
    APPLIED = 5  # server to registry: version after an update, gradients in it; step s
    SNAPSHOT = 6  # server to registry: version; weights
    WEIGHTS = 7  # server or store: version, term or request; weights, if there are any that the receiver lacks
    GRADIENT = 8  # worker to server: version, term; store to server: version, place in the queue; gradient
    REPLICA = 9  # server to its successor in the chain: version; weights
    ACK = 10  # answer to REPLICA: version
    SAVE = 11  # to a store: version; weights
    FETCH = 12  # to a store: version that the sender has, request
    APPEND = 13  # worker to store: version at which the gradient was computed; gradient
    TAKE = 14  # server to store: answered when gradients are pending
    BATCH = 15  # answer to TAKE: version, pending gradients; weights
    READ = 16  # server to store: first place in the queue, number of gradients
    COMMIT = 17  # server to store: version that the server started from, gradients used; new weights


class ActorMessage(NamedTuple):
    """One message."""

    kind: MessageKind
    number: int = 0
    amount: int = 0
    vector: Vector | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the encoded message."""
        return 8 * HEADER + (0 if self.vector is None else self.vector.nbytes)


class Received(NamedTuple):
    """A message with the rank that sent it."""

    source: int
    message: ActorMessage


def encode(message: ActorMessage) -> NDArray[np.uint8]:
    """Return the bytes of a message."""
    vector = message.vector
    dtype = -1 if vector is None else TYPES.index(vector.dtype)
    head = np.array([message.kind, message.number, message.amount, dtype, 0], np.int64).view(np.uint8)
    return head if vector is None else np.concatenate([head, vector.view(np.uint8)])


def decode(data: NDArray[np.uint8]) -> ActorMessage:
    """Return the message whose bytes are given."""
    kind, number, amount, dtype, _ = data[: 8 * HEADER].view(np.int64).tolist()
    vector = None if dtype < 0 else data[8 * HEADER :].view(TYPES[dtype])
    return ActorMessage(MessageKind(kind), number, amount, vector)
