"""Asynchronous training with checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.servers.checkpointed import Checkpointed
from mpiopt.servers.rounds import asynchronous
from mpiopt.serving.actor import Actor, Me
from mpiopt.serving.task import Task


@dataclass(frozen=True)
class AsyncCheckpoint(Checkpointed):
    """Each gradient applied as it comes, checkpoints every so many updates (paper: configuration 2)."""

    name = "async-checkpoint"

    def serve(self, me: Me, task: Task) -> Actor:
        """Load, then train and save."""
        t, w = yield from self.restored(me, task)
        yield from asynchronous(me, task, t, w, lambda t, w: self.saved(me, t, w))
