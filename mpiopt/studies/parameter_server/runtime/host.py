"""One process: its memory, and the actor of the role that it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from mpiopt.studies.parameter_server.runtime import view as views
from mpiopt.studies.parameter_server.runtime import worker
from mpiopt.studies.parameter_server.runtime.actor import Actor, Counts, Me, Operation, Wait
from mpiopt.studies.parameter_server.runtime.messages import Kind, Message
from mpiopt.studies.parameter_server.runtime.store import store
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.servers.base import Server

Cast = Callable[[Me], Actor]  # from a rank, whose view says its role, to its actor


def cast(server: Server, task: ServerTask) -> Cast:
    """Give the actors of a configuration by role."""

    def actor(me: Me) -> Actor:
        role = me.view.places[me.rank].role
        if role is Role.SERVER:
            return server.serve(me, task)
        if role is Role.STORE:
            return store(me, getattr(server, "queue", 1))
        if role is Role.WORKER:
            return worker.fetching(me, task) if server.fetching else worker.given(me, task)
        return waiting(me)

    return actor


def waiting(me: Me) -> Actor:
    """Do nothing as a spare; letters for the role to come are kept."""
    while True:
        letter = yield Wait(float("inf"))
        if letter is not None:
            me.letters.append(letter)


class Host:
    """Runs the actor, and starts another one where the view gives this rank another role."""

    def __init__(self, me: Me, actors: Cast) -> None:
        self.me, self._actors = me, actors
        self._actor = actors(me)

    def resume(self, value: object) -> Operation:
        """Give the actor what it waited for; give its next operation."""
        return self._actor.send(value)

    def told(self, message: Message) -> bool:
        """Take note of a view; say whether it changes the role, so that `resume(None)` starts the new actor."""
        if message.vector is None or message.number <= self.me.view.number:
            return False
        before, self.me.view = self.me.view, views.decode(message.vector)
        self.me.news = True
        if before.places[self.me.rank].role is self.me.view.places[self.me.rank].role:
            return False
        if before.places[self.me.rank].role is not Role.SPARE:
            self.me.letters.clear()
        self._actor.close()
        self.me.news, self.me.due = False, 0.0
        self._actor = self._actors(self.me)
        return True

    def beat(self) -> Message:
        """Say that this rank lives, and what it has done."""
        values = dataclasses.astuple(self.me.counts)
        return Message(Kind.BEAT, self.me.life, 0, np.array(values, np.float64))


def counts_of(message: Message) -> Counts:
    """Give back the counters of a beat."""
    values = [] if message.vector is None else message.vector.tolist()
    fields = dataclasses.fields(Counts)
    return Counts(*(v if f.type == "float" else int(v) for f, v in zip(fields, values, strict=True)))
