"""Asynchronous training with chain replication."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.servers.chained import Chained, Replica
from mpiopt.servers.rounds import asynchronous
from mpiopt.serving.actor import Actor, Me
from mpiopt.serving.task import Task


@dataclass(frozen=True)
class AsyncChain(Chained):
    """Chain replication, each gradient applied as it comes (paper: configuration 4)."""

    name = "async-chain"

    def serve(self, me: Me, task: Task) -> Actor:
        """Stand by until this is the head, then train from the copy."""
        replica = Replica(me, self.every, task.start())
        yield from replica.stand_by()
        yield from asynchronous(me, task, replica.version, replica.weights, replica.replicated)
