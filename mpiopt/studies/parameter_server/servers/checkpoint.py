"""Checkpoints in a store: what both checkpoint configurations share.

Asynchronous training with checkpoints.

Synchronous training with checkpoints.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Operation, Send, take
from mpiopt.studies.parameter_server.runtime.messages import Kind, Message
from mpiopt.studies.parameter_server.runtime.store import ANYTHING
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.servers.base import Server, at_least_one
from mpiopt.studies.parameter_server.servers.rounds import asynchronous, synchronous


@dataclass(frozen=True)
class Checkpointed(Server):
    """Save (weights, version) every so many updates; a new server loads the last ones, or starts anew without.

    `no_restore_while_kills_pending` repeats a fault of the published code, in which a new server started anew while
    another kill was planned: the collapse in the paper's figure 5.
    """

    every: int = 100
    no_restore_while_kills_pending: bool = False

    def __post_init__(self) -> None:
        at_least_one("every", self.every)

    @property
    def stores(self) -> int:
        """The checkpoints' place."""
        return 1

    @property
    def period(self) -> int | None:
        """The time between two checkpoints."""
        return self.every

    def restored(self, me: Me, task: ServerTask) -> Generator[Operation, Any, tuple[int, Array]]:
        """Give the version and the weights to go on from."""
        while (store := me.view.head(Role.STORE)) is not None:
            yield Send(store, Message(Kind.FETCH, ANYTHING))
            letter = yield from take(me, Kind.WEIGHTS)
            if letter is not None:
                found = letter[1].vector
                ignored = self.no_restore_while_kills_pending and me.view.pending > 0
                return (0, task.start()) if found is None or ignored else (letter[1].number, found)
        return 0, task.start()

    def saved(self, me: Me, version: int, w: Array) -> Actor:
        """Save where it is time to."""
        store = me.view.head(Role.STORE)
        if store is not None and version > 0 and version % self.every == 0:
            yield Send(store, Message(Kind.SAVE, version, 0, w))


@dataclass(frozen=True)
class AsyncCheckpoint(Checkpointed):
    """Each gradient applied as it comes, checkpoints every so many updates (paper: configuration 2)."""

    name = "async-checkpoint"

    def serve(self, me: Me, task: ServerTask) -> Actor:
        """Load, then train and save."""
        t, w = yield from self.restored(me, task)
        yield from asynchronous(me, task, t, w, lambda t, w: self.saved(me, t, w))


@dataclass(frozen=True)
class SyncCheckpoint(Checkpointed):
    """All workers on the same weights, checkpoints every so many updates (paper: configuration 1)."""

    name = "sync-checkpoint"

    def serve(self, me: Me, task: ServerTask) -> Actor:
        """Load, then train and save."""
        t, w = yield from self.restored(me, task)
        yield from synchronous(me, task, t, w, lambda t, w: self.saved(me, t, w))
