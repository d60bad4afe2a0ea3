"""The two workers: one gets weights from the server; the other pulls them from the store and waits for no server."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Compute, Operation, RankState, Send, receive
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role


def served(state: RankState, task: ServerTask) -> Actor:
    """Answer weights with one gradient, except weights of an earlier server, which have a smaller term."""
    term = -1
    while True:
        received = yield from receive(state, MessageKind.WEIGHTS)
        if received is None:
            continue
        _, version, number, w = received.message
        if w is not None and number >= term:
            term = number
            g = yield from next_gradient(state, task, w)
            yield Send(received.source, ActorMessage(MessageKind.GRADIENT, version, term, g))


def pulling(state: RankState, task: ServerTask) -> Actor:
    """Fetch the weights and append a gradient to the store's queue, again and again.

    The store answers a request after it has taken the previous gradient, so a worker has at most one in transit. When
    the store changes, the worker asks the new one.
    """
    version, request = -1, 0
    w: Array | None = None
    while True:
        store = state.view.head(Role.STORE)
        request += 1
        if store is not None:
            yield Send(store, ActorMessage(MessageKind.FETCH, version, request))
        received = yield from receive(state, MessageKind.WEIGHTS)
        while received is not None and received.message.amount != request:
            received = yield from receive(state, MessageKind.WEIGHTS)
        if received is None:
            continue
        if received.message.vector is not None:
            version, w = received.message.number, received.message.vector
        if w is not None:
            g = yield from next_gradient(state, task, w)
            yield Send(received.source, ActorMessage(MessageKind.APPEND, version, 0, g))


def next_gradient(state: RankState, task: ServerTask, w: Array) -> Generator[Operation, Any, Array]:
    """Compute the next gradient of this worker at w."""
    count = state.counts.computed
    g: Array = yield Compute("gradient", partial(task.gradient, w, state.rank, state.incarnation, count))
    state.counts.computed += 1
    return g
