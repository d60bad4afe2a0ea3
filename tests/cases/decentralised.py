"""Runs of the algorithms that go along graphs, the same over threads and over MPI."""

from mpiopt.algorithms.base import Algorithm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.spec import name_and_options
from mpiopt.core.state import pack
from tests.cases.problems import objective

TEXTS = (
    "graph-saga",
    "graph-saga[topology=ring,coordinator=flooding,preconditioner=none]",
    "dlas[batch=4]",
    "dgd",
    "gradient-tracking",
    "gt-saga[topology=star]",
    "push-saga[topology=random-k,batch=3]",
    "datos[topology=star]",
    "adgt",
    "dgm-bb[mixings=2]",
)


def made(text):
    return Algorithm.make(*name_and_options(text, Algorithm.known()))


def begun(comm, text, loss="logistic", l1=0.0):
    """Return algorithm, state, objective and channel before the first round."""
    target, channel, algorithm = objective(loss, l1, 0.05, "dense", comm), Channel(comm, seed=3), made(text)
    return algorithm, algorithm.init(target, channel), target, channel


def followed(comm, text, rounds=30):
    """Return the state after some rounds as bytes, and the traffic."""
    algorithm, state, target, channel = begun(comm, text)
    for k in range(rounds):
        algorithm.step(k, state, target, channel)
    t = channel.traffic
    return pack(state).tobytes(), (t.bytes_sent, t.bytes_received, t.messages, t.rounds)
