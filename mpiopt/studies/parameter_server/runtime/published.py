"""What a server tells the registry of its updates."""

from __future__ import annotations

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Send
from mpiopt.studies.parameter_server.runtime.messages import Kind, Message
from mpiopt.studies.parameter_server.runtime.view import Role


def published(me: Me, version: int, w: Array, gradients: int, step: float) -> Actor:
    """Tell of an update; show the weights after a start and then where `me.due` says so."""
    me.counts.applied += gradients
    me.counts.updates += 1
    me.holds(w.nbytes)
    registry = me.view.head(Role.REGISTRY)
    if registry is not None:
        yield Send(registry, Message(Kind.APPLIED, version, gradients, np.array([step])))
        if me.clock() >= me.due:
            me.due = me.clock() + me.every
            yield Send(registry, Message(Kind.SNAPSHOT, version, 0, w))
