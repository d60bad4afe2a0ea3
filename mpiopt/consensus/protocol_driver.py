"""Running protocols: one rank along a graph of its communicator, or all ranks of a graph in one thread."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpiopt.comm.base import Array, Neighbours
from mpiopt.consensus.coordinators.base import AnyLength, Protocol, R
from mpiopt.consensus.digraph import Graph


class ProtocolCost(NamedTuple):
    """What this rank spent."""

    rounds: int
    bytes_sent: int


def run(protocol: Protocol[R], neighbours: Neighbours, name: str) -> tuple[R, ProtocolCost]:
    """Run the protocol of this rank to its end; return its result and cost. Collective.

    Every message carries a tag made of `name` and the round. So `name` must be equal on all ranks and new in each
    call.

    Raises
    ------
    RuntimeError
        If a message belongs to another protocol, call or round, or if a neighbour sent none.
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
    """Send a message to all out-neighbours; return those of the in-neighbours, ascending by rank."""
    if isinstance(message, AnyLength):
        received = neighbours.exchange_any(message.x, tag)
    else:
        received = neighbours.exchange(message, tag)
    if tuple(received) != neighbours.incoming:
        missing = sorted(set(neighbours.incoming) - set(received))
        raise RuntimeError(f"rank {neighbours.rank} got no message from rank {missing}")
    return list(received.values())


def run_together(protocols: Sequence[Protocol[R]], graph: Graph) -> tuple[list[R], int, list[int]]:
    """Run one protocol for each rank in this thread; return the results, the rounds, and the bytes each rank sent.

    Raises RuntimeError if the ranks end in different rounds.
    """
    sent, rounds = [0] * graph.size, 0
    steps = [_resumed(protocol, None) for protocol in protocols]
    while not any(done for done, _ in steps):
        messages: list[Array] = [m.x if isinstance(m, AnyLength) else m for _, m in steps]
        for rank, message in enumerate(messages):
            sent[rank] += message.nbytes * len(graph.outgoing[rank])
        received = [[messages[source] for source in sources] for sources in graph.incoming]
        steps = [_resumed(protocol, got) for protocol, got in zip(protocols, received, strict=True)]
        rounds += 1
    if not all(done for done, _ in steps):
        raise RuntimeError(f"ranks {[r for r, (done, _) in enumerate(steps) if not done]} go on after round {rounds}")
    return [result for _, result in steps], rounds, sent


def _resumed(protocol: Protocol[Any], received: list[Array] | None) -> tuple[bool, Any]:
    """Run a protocol to its next message; return whether it ended, and its message or result."""
    try:
        return False, next(protocol) if received is None else protocol.send(received)
    except StopIteration as end:
        return True, end.value
