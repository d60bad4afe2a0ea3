"""Checkpoints in a store: what both checkpoint configurations share."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from mpiopt.networks import Array
from mpiopt.servers import Server, at_least_one
from mpiopt.serving.actor import Actor, Me, Operation, Send, take
from mpiopt.serving.messages import Kind, Message
from mpiopt.serving.store import ANYTHING
from mpiopt.serving.task import Task
from mpiopt.serving.view import Role


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

    def restored(self, me: Me, task: Task) -> Generator[Operation, Any, tuple[int, Array]]:
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
