"""The two consistencies of a server: all workers on the same weights, or each gradient applied as it arrives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Compute, RankState, Send, receive
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role

Keep = Callable[[int, Array], Actor]  # saves or replicates the weights after an update, given their version
Consistency = Callable[[RankState, ServerTask, int, Array, Keep], Actor]


def synchronous(state: RankState, task: ServerTask, version: int, w: Array, keep: Keep) -> Actor:
    """x_{t+1} = x_t − η Σ_k g_k(x_t): wait for the gradients of all workers except those that die."""
    term = state.view.number
    while True:
        yield from keep(version, w)
        asked = state.view.workers
        for k in asked:
            yield Send(k, ActorMessage(MessageKind.WEIGHTS, version, term, w))
        arrived: dict[int, Array] = {}
        while any(k not in arrived and k in state.view.workers for k in asked) or not arrived:
            received = yield from receive(state, MessageKind.GRADIENT)
            if received is None:
                if not set(asked) & set(state.view.workers):
                    break
                continue
            _, number, amount, g = received.message
            if (number, amount) == (version, term) and g is not None:
                arrived[received.source] = g
        if arrived:
            gradients = [arrived[k] for k in sorted(arrived)]
            w = yield Compute("step", partial(task.stepped, w, gradients))
            version += 1
            yield from publish(state, version, w, len(arrived), task.step)


def asynchronous(state: RankState, task: ServerTask, version: int, w: Array, keep: Keep) -> Actor:
    """x_{t+1} = x_t − η g_k(x_s), s <= t: apply each gradient on arrival and send that worker the new weights."""
    term = state.view.number
    at_work: dict[int, int] = {}  # worker, and since which view; a worker that died and returned is asked anew
    while True:
        yield from keep(version, w)
        for k in state.view.workers:
            since = state.view.places[k].since
            if at_work.get(k) != since:
                at_work[k] = since
                yield Send(k, ActorMessage(MessageKind.WEIGHTS, version, term, w))
        received = yield from receive(state, MessageKind.GRADIENT)
        if received is not None and received.message.amount == term and received.message.vector is not None:
            w = yield Compute("step", partial(task.stepped, w, [received.message.vector]))
            version += 1
            at_work.pop(received.source, None)
            yield from publish(state, version, w, 1, task.step)


def publish(state: RankState, version: int, w: Array, gradients: int, step: float) -> Actor:
    """Report an update to the registry, with a snapshot of the weights if one is due."""
    state.counts.applied += gradients
    state.counts.updates += 1
    state.note_memory(w.nbytes)
    registry = state.view.head(Role.REGISTRY)
    if registry is not None:
        yield Send(registry, ActorMessage(MessageKind.APPLIED, version, gradients, np.array([step])))
        if state.clock() >= state.next_snapshot:
            state.next_snapshot = state.clock() + state.snapshot_interval
            yield Send(registry, ActorMessage(MessageKind.SNAPSHOT, version, 0, w))
