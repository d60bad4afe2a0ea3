"""Workers: one is given weights by the server, the other fetches them from the store and never waits for a server."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Operation, Send, Work, take
from mpiopt.studies.parameter_server.runtime.messages import Kind, Message
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role


def given(me: Me, task: ServerTask) -> Actor:
    """Answer each weights with one gradient; weights of a server of before (a smaller term) are not answered."""
    term = -1
    while True:
        letter = yield from take(me, Kind.WEIGHTS)
        if letter is None or letter[1].vector is None or letter[1].amount < term:
            continue
        server, (_, version, term, _) = letter
        g = yield from computed(me, task, letter[1].vector)
        yield Send(server, Message(Kind.GRADIENT, version, term, g))


def fetching(me: Me, task: ServerTask) -> Actor:
    """Fetch the weights, append a gradient to the store's queue, again and again; ask anew where the store changes.

    The store answers after it has taken the gradient of before, so a worker has one on the way at most.
    """
    version, question = -1, 0
    w: Array | None = None
    while True:
        store = me.view.head(Role.STORE)
        question += 1
        if store is not None:
            yield Send(store, Message(Kind.FETCH, version, question))
        letter = yield from take(me, Kind.WEIGHTS)
        while letter is not None and letter[1].amount != question:
            letter = yield from take(me, Kind.WEIGHTS)
        if letter is None:
            continue
        if letter[1].vector is not None:
            version, w = letter[1].number, letter[1].vector
        if w is not None:
            g = yield from computed(me, task, w)
            yield Send(letter[0], Message(Kind.APPEND, version, 0, g))


def computed(me: Me, task: ServerTask, w: Array) -> Generator[Operation, Any, Array]:
    """Compute the next gradient of this worker at w."""
    count = me.counts.computed
    g: Array = yield Work("gradient", partial(task.gradient, w, me.rank, me.life, count))
    me.counts.computed += 1
    return g
