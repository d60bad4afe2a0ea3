"""A small problem for parameter servers, and runs of it in virtual time."""

import numpy as np

from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.networks.base import Network
from mpiopt.studies.parameter_server.runtime import view
from mpiopt.studies.parameter_server.runtime.examples import load
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import actors_of
from mpiopt.studies.parameter_server.runtime.registry import Timing
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.runtime.virtual import VirtualCosts, VirtualWorld
from mpiopt.studies.parameter_server.servers.base import Server

SETS = load("made-up", "", 400, 100, 0)
TIMING = Timing(5.0, 0.5, 1.0)
COSTS = VirtualCosts(gradient=0.05)  # 20 gradients a second


def task(backlog="small-step", seed=0):
    return ServerTask(Network.make("mlp", {"hidden": 4}), Backlog.make(backlog), SETS.train, batch=8, seed=seed)


def death(seconds, role=Role.SERVER, place=0, outage=1.0):
    return Fault(seconds, 0, role, place, outage)


def record(name, workers=1, faults=(), spares=2, timing=TIMING, every=0.2, options=None, job=None, costs=None):
    """Run in virtual time."""
    server, job = Server.make(name, options), job or task()
    places = view.initial_view(workers, server.servers, server.stores, spares, len(faults))
    return VirtualWorld(places, actors_of(server, job), timing, costs or COSTS, every).run(faults)


def weights(found):
    """Return all snapshots of the weights, with their versions."""
    vectors = []
    found.accuracies(lambda w: vectors.append(np.array(w)) or 0.0)
    return [(snapshot.version, w) for snapshot, w in zip(found.snapshots, vectors, strict=True)]


def gradients(found):
    """Return how many gradients were computed and how many applied."""
    return sum(c.computed for c in found.counts.values()), sum(u.gradients for u in found.updates)
