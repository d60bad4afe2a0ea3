"""A small problem for parameter servers, and runs of it in virtual time."""

import numpy as np

from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.networks.base import Network
from mpiopt.studies.parameter_server.runtime import view
from mpiopt.studies.parameter_server.runtime.examples import load
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import cast
from mpiopt.studies.parameter_server.runtime.registry import Rules
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.runtime.virtual import VirtualCosts, VirtualWorld
from mpiopt.studies.parameter_server.servers.base import Server

SETS = load("made-up", "", 400, 100, 0)
RULES = Rules(5.0, 0.5, 1.0)
COSTS = VirtualCosts(gradient=0.05)  # 20 gradients a second


def task(backlog="small-step", seed=0):
    return ServerTask(Network.make("mlp", {"hidden": 4}), Backlog.make(backlog), SETS.train, batch=8, seed=seed)


def death(seconds, role=Role.SERVER, place=0, outage=1.0):
    return Fault(seconds, 0, role, place, outage)


def record(name, workers=1, faults=(), spares=2, rules=RULES, every=0.2, options=None, job=None, costs=None):
    """Run in virtual time."""
    server, job = Server.make(name, options), job or task()
    places = view.first(workers, server.servers, server.stores, spares, len(faults))
    return VirtualWorld(places, cast(server, job), rules, costs or COSTS, every).run(faults)


def weights(found):
    """Give all weights that were shown, with their versions."""
    shown = []
    found.judged(lambda w: shown.append(np.array(w)) or 0.0)
    return [(version, w) for (_, version, _), w in zip(found.shown, shown, strict=True)]


def gradients(found):
    """Give how many gradients were computed and applied."""
    return sum(c.computed for c in found.lives.values()), sum(u.gradients for u in found.updates)
