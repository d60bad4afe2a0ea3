"""One rank: its state, and the actor of the role that it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from mpiopt.studies.parameter_server.runtime import view, worker
from mpiopt.studies.parameter_server.runtime.actor import Actor, Counts, Operation, RankState, Receive
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind
from mpiopt.studies.parameter_server.runtime.store import store
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.servers.base import Server

ActorFactory = Callable[[RankState], Actor]  # makes the actor for the role that the view of the rank says


def actors_of(server: Server, task: ServerTask) -> ActorFactory:
    """Return the actors of a configuration by role."""

    def actor(state: RankState) -> Actor:
        role = state.view.places[state.rank].role
        if role is Role.SERVER:
            return server.serve(state, task)
        if role is Role.STORE:
            return store(state, getattr(server, "queue", 1))
        if role is Role.WORKER:
            return worker.pulling(state, task) if server.fetching else worker.served(state, task)
        return waiting(state)

    return actor


def waiting(state: RankState) -> Actor:
    """Do nothing as a spare; messages for the next role are kept."""
    while True:
        received = yield Receive(float("inf"))
        if received is not None:
            state.inbox.append(received)


class Host:
    """Runs the actor of a rank, and starts another actor when the view gives the rank another role."""

    def __init__(self, state: RankState, actors: ActorFactory) -> None:
        self.state, self._actors = state, actors
        self._actor = actors(state)

    def resume(self, value: object) -> Operation:
        """Send the actor the result of its operation and return its next operation."""
        return self._actor.send(value)

    def update_view(self, message: ActorMessage) -> bool:
        """Take over a newer view; return whether the role changed; `resume(None)` then starts the new actor."""
        state = self.state
        if message.vector is None or message.number <= state.view.number:
            return False
        before, state.view = state.view.places[state.rank].role, view.decode(message.vector)
        state.view_changed = True
        if before is state.view.places[state.rank].role:
            return False
        if before is not Role.SPARE:
            state.inbox.clear()
        self._actor.close()
        state.view_changed, state.next_snapshot = False, 0.0
        self._actor = self._actors(state)
        return True

    def heartbeat(self, last: bool = False) -> ActorMessage:
        """Return the message that this rank is alive, with its counters."""
        values = np.array(dataclasses.astuple(self.state.counts), np.float64)
        return ActorMessage(MessageKind.HEARTBEAT, self.state.incarnation, int(last), values)


def counts_of(heartbeat: ActorMessage) -> Counts:
    """Return the counters in a heartbeat."""
    values = [] if heartbeat.vector is None else heartbeat.vector.tolist()
    fields = dataclasses.fields(Counts)
    return Counts(*(v if f.type == "float" else int(v) for f, v in zip(fields, values, strict=True)))
