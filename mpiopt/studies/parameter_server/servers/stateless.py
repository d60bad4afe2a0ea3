"""The stateless server: weights and gradients live in stores, and a server is a function that any rank can run."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Operation, Send, Work, take
from mpiopt.studies.parameter_server.runtime.messages import Kind, Letter, Message
from mpiopt.studies.parameter_server.runtime.published import published
from mpiopt.studies.parameter_server.runtime.store import window
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.servers.base import Server, at_least_one


@dataclass(frozen=True)
class StatelessServer(Server):
    """w' = w − s Σ_j c_j g_j over all that is pending in the store; workers never wait for it (configuration 5).

    Weights are not locked: workers may read any version. `queue` gradients are the most that a store keeps before
    workers wait.
    """

    name = "stateless"
    fetching = True
    copies: int = 2
    queue: int = 2000

    def __post_init__(self) -> None:
        at_least_one("copies", self.copies)
        at_least_one("queue", self.queue)

    @property
    def stores(self) -> int:
        """The stores and their copies."""
        return self.copies

    def serve(self, me: Me, task: ServerTask) -> Actor:
        """Take what is pending, make the step, commit it: nothing stays in the server's memory."""
        while True:
            store = me.view.head(Role.STORE)
            if store is None:
                yield from take(me)
                continue
            yield Send(store, Message(Kind.TAKE))
            batch = yield from self.answered(me, store, Kind.BATCH)
            if batch is None:
                continue
            _, version, pending, w = batch[1]
            if w is None:
                yield Send(store, Message(Kind.SAVE, 0, 0, task.start()))
                continue
            total = yield from self.total(me, task, store, version, pending, np.zeros_like(w))
            if total is None:
                continue
            norm = float(np.linalg.norm(total))
            step = task.backlog.step(task.step, pending, norm)
            w = yield Work("step", partial(moved, w, step, total))
            yield Send(store, Message(Kind.COMMIT, version, pending, w))
            yield from published(me, version + 1, w, pending, step)

    def total(
        self, me: Me, task: ServerTask, store: int, version: int, pending: int, total: Array
    ) -> Generator[Operation, Any, Array | None]:
        """Give Σ c_j g_j over the pending gradients, which come in windows; None where the store is gone."""
        many = window(total)
        for place in range(pending):
            if place % many == 0 and place:
                yield Send(store, Message(Kind.READ, place, min(many, pending - place)))
            letter = yield from self.answered(me, store, Kind.GRADIENT)
            if letter is None or letter[1].vector is None:
                return None
            g, age = letter[1].vector, version - letter[1].number
            c = task.backlog.weight(age, place, float(np.linalg.norm(g)))
            yield Work("add", partial(add, total, c, g))
        return total

    def answered(self, me: Me, store: int, kind: Kind) -> Generator[Operation, Any, Letter | None]:
        """Wait for this store's answer; None where another store is the first now."""
        while me.view.head(Role.STORE) == store:
            letter = yield from take(me, kind)
            if letter is not None and letter[0] == store:
                return letter
        return None


def add(total: Array, c: float, g: Array) -> None:
    """Add c g in place."""
    total += g if c == 1.0 else g.dtype.type(c) * g


def moved(w: Array, s: float, total: Array) -> Array:
    """Give w − s Σ c_j g_j in the type of w."""
    return np.asarray(w - w.dtype.type(s) * total)
