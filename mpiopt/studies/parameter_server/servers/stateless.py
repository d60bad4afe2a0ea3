"""The stateless server: weights and gradients are in stores, and a server is a function that any rank can run."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mpiopt.core.config.job import at_least
from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Compute, Operation, RankState, Send, receive
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind
from mpiopt.studies.parameter_server.runtime.store import window
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.servers.base import Server
from mpiopt.studies.parameter_server.servers.consistency import publish


@dataclass(frozen=True)
class StatelessServer(Server):
    """w' = w − s Σ_j c_j g_j over all gradients pending in the store; workers never wait for it (configuration 5).

    Weights are not locked: workers may read any version. A store keeps at most `queue` gradients before workers wait.
    """

    name = "stateless"
    fetching = True
    copies: int = 2
    queue: int = 2000

    def __post_init__(self) -> None:
        at_least("copies", self.copies, 1)
        at_least("queue", self.queue, 1)

    @property
    def stores(self) -> int:
        """The store and its replicas."""
        return self.copies

    def serve(self, state: RankState, task: ServerTask) -> Actor:
        """Take the pending gradients, make one step, commit it; nothing stays in the server's memory."""
        while True:
            store = state.view.head(Role.STORE)
            if store is None:
                yield from receive(state)
                continue
            yield Send(store, ActorMessage(MessageKind.TAKE))
            batch = yield from self.answer(state, store, MessageKind.BATCH)
            if batch is None:
                continue
            if batch.vector is None:
                yield Send(store, ActorMessage(MessageKind.SAVE, 0, 0, task.start()))
                continue
            total = yield from self.total(state, task, store, batch)
            if total is None:
                continue
            version, pending = batch.number, batch.amount
            step = task.backlog.step(task.step, pending, float(np.linalg.norm(total)))
            w = yield Compute("step", partial(moved, batch.vector, step, total))
            yield Send(store, ActorMessage(MessageKind.COMMIT, version, pending, w))
            yield from publish(state, version + 1, w, pending, step)

    def total(
        self, state: RankState, task: ServerTask, store: int, batch: ActorMessage
    ) -> Generator[Operation, Any, Array | None]:
        """Return Σ c_j g_j over the pending gradients, which arrive in windows; None if the store is gone."""
        total = np.zeros_like(batch.vector)
        many, pending = window(total), batch.amount
        for place in range(pending):
            if place % many == 0 and place:
                yield Send(store, ActorMessage(MessageKind.READ, place, min(many, pending - place)))
            answer = yield from self.answer(state, store, MessageKind.GRADIENT)
            if answer is None or answer.vector is None:
                return None
            g, age = answer.vector, batch.number - answer.number
            c = task.backlog.weight(age, place, float(np.linalg.norm(g)))
            yield Compute("add", partial(add, total, c, g))
        return total

    def answer(
        self, state: RankState, store: int, kind: MessageKind
    ) -> Generator[Operation, Any, ActorMessage | None]:
        """Return the answer of this store; None if another store has become the first."""
        while state.view.head(Role.STORE) == store:
            received = yield from receive(state, kind)
            if received is not None and received.source == store:
                return received.message
        return None


def add(total: Array, c: float, g: Array) -> None:
    """Add c g to the total in place."""
    total += g if c == 1.0 else g.dtype.type(c) * g


def moved(w: Array, s: float, total: Array) -> Array:
    """Return w − s Σ c_j g_j in the type of w."""
    return np.asarray(w - w.dtype.type(s) * total)
