"""Driving a protocol along a graph of a communicator: each message carries the protocol's name, call and round."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from mpiopt.comm.base import Array, Neighbours
from mpiopt.consensus.coordinators.base import AnyLength, Protocol, R


class ProtocolCost(NamedTuple):
    """What a protocol cost this rank."""

    rounds: int
    bytes_sent: int


def run(protocol: Protocol[R], neighbours: Neighbours, name: str) -> tuple[R, ProtocolCost]:
    """Run a protocol to its end; `name` must be equal on all ranks and new in each call.

    Raises
    ------
    RuntimeError
        If a message is of another protocol, call or round, or none came from a neighbour.
    """
    tag, rounds, before = zlib.crc32(name.encode()) << 32, 0, neighbours.bytes_sent
    try:
        message = next(protocol)
        while True:
            received = _exchanged(message, neighbours, tag + rounds)
            rounds += 1
            message = protocol.send(received)
    except StopIteration as end:
        return end.value, ProtocolCost(rounds, neighbours.bytes_sent - before)


def _exchanged(message: Array | AnyLength, neighbours: Neighbours, tag: int) -> list[Array]:
    if isinstance(message, AnyLength):
        received = neighbours.exchange_any(message.x, tag)
    else:
        received = neighbours.exchange(message, tag)
    if tuple(received) != neighbours.incoming:
        missing = sorted(set(neighbours.incoming) - set(received))
        raise RuntimeError(f"rank {neighbours.rank} got no message from rank {missing}")
    return list(received.values())
