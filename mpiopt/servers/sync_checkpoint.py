"""Synchronous training with checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.servers.checkpointed import Checkpointed
from mpiopt.servers.rounds import synchronous
from mpiopt.serving.actor import Actor, Me
from mpiopt.serving.task import Task


@dataclass(frozen=True)
class SyncCheckpoint(Checkpointed):
    """All workers on the same weights, checkpoints every so many updates (paper: configuration 1)."""

    name = "sync-checkpoint"

    def serve(self, me: Me, task: Task) -> Actor:
        """Load, then train and save."""
        t, w = yield from self.restored(me, task)
        yield from synchronous(me, task, t, w, lambda t, w: self.saved(me, t, w))
