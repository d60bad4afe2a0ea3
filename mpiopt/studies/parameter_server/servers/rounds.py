"""The two consistencies: all workers on the same weights, or each gradient applied as it comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Send, Work, take
from mpiopt.studies.parameter_server.runtime.messages import Kind, Message
from mpiopt.studies.parameter_server.runtime.published import published
from mpiopt.studies.parameter_server.runtime.task import ServerTask

Keep = Callable[[int, Array], Actor]  # what is done with the weights after an update, given their version


def synchronous(me: Me, task: ServerTask, t: int, w: Array, keep: Keep) -> Actor:
    """x_{t+1} = x_t − η Σ_k g_k(x_t): wait for the gradients of all workers, but for those that die."""
    term = me.view.number
    while True:
        yield from keep(t, w)
        asked = me.view.workers
        for k in asked:
            yield Send(k, Message(Kind.WEIGHTS, t, term, w))
        found: dict[int, Array] = {}
        while any(k not in found and k in me.view.workers for k in asked) or not found:
            letter = yield from take(me, Kind.GRADIENT)
            if letter is None and not set(asked) & set(me.view.workers):
                break
            if letter is not None and letter[1][1:3] == (t, term) and letter[1].vector is not None:
                found[letter[0]] = letter[1].vector
        if found:
            gradients = [found[k] for k in sorted(found)]
            w = yield Work("step", partial(task.stepped, w, gradients))
            t += 1
            yield from published(me, t, w, len(found), task.step)


def asynchronous(me: Me, task: ServerTask, t: int, w: Array, keep: Keep) -> Actor:
    """x_{t+1} = x_t − η g_k(x_s), s <= t: apply each gradient on arrival, give that worker the new weights."""
    term = me.view.number
    at_work: dict[int, int] = {}  # worker, and since when it is one: another life must be asked anew
    while True:
        yield from keep(t, w)
        for k in me.view.workers:
            if at_work.get(k) != me.view.places[k].since:
                at_work[k] = me.view.places[k].since
                yield Send(k, Message(Kind.WEIGHTS, t, term, w))
        letter = yield from take(me, Kind.GRADIENT)
        if letter is not None and letter[1].amount == term and letter[1].vector is not None:
            k, g = letter[0], letter[1].vector
            w = yield Work("step", partial(task.stepped, w, [g]))
            t += 1
            at_work.pop(k, None)
            yield from published(me, t, w, 1, task.step)
