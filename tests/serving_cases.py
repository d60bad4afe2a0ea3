"""A small problem for parameter servers, and runs of it in virtual time."""

import numpy as np

from mpiopt.backlogs import Backlog
from mpiopt.networks import Network
from mpiopt.servers import Server
from mpiopt.serving import view
from mpiopt.serving.examples import load
from mpiopt.serving.faults import Fault
from mpiopt.serving.host import cast
from mpiopt.serving.registry import Rules
from mpiopt.serving.task import Task
from mpiopt.serving.view import Role
from mpiopt.serving.virtual import Costs, World

SETS = load("made-up", "", 400, 100, 0)
RULES = Rules(5.0, 0.5, 1.0)
COSTS = Costs(gradient=0.05)  # 20 gradients a second


def task(backlog="small-step", seed=0):
    return Task(Network.make("mlp", {"hidden": 4}), Backlog.make(backlog), SETS.train, batch=8, seed=seed)


def death(seconds, role=Role.SERVER, place=0, outage=1.0):
    return Fault(seconds, 0, role, place, outage)


def record(name, workers=1, faults=(), spares=2, rules=RULES, every=0.2, options=None, job=None, costs=None):
    """Run in virtual time."""
    server, job = Server.make(name, options), job or task()
    places = view.first(workers, server.servers, server.stores, spares, len(faults))
    return World(places, cast(server, job), rules, costs or COSTS, every).run(faults)


def weights(found):
    """Give all weights that were shown, with their versions."""
    shown = []
    found.judged(lambda w: shown.append(np.array(w)) or 0.0)
    return [(version, w) for (_, version, _), w in zip(found.shown, shown, strict=True)]


def gradients(found):
    """Give how many gradients were computed and applied."""
    return sum(c.computed for c in found.lives.values()), sum(u.gradients for u in found.updates)
