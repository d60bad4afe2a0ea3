"""Compressed exchanges over MPI: the bits and the counts of threads."""

import numpy as np
import pytest

from mpiopt.algorithms.saga.saga import Saga
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.compress.symmetric_sum import curvature_sum
from mpiopt.core.state import pack
from tests.cases.problems import objective

pytestmark = pytest.mark.mpi

DIMENSIONS = (0, 1, 3, 50, 3000)
LONG = ("rand-k", "quantised", "none")  # these with many numbers, too


def counts(channel):
    t = channel.traffic
    return t.bytes_sent, t.bytes_received, t.messages, t.exchanges, t.bytes_plain


def sums(name, comm):
    """Sums of all lengths, one way and both ways; as bytes, with what they cost."""
    results = []
    for downlink in (False, True):
        channel = Channel(comm, 3, Compressor.make(name), downlink=downlink)
        for d in (*DIMENSIONS, *((200_000,) if name in LONG else ())):
            if d > 50 and name == "stabilised":
                continue
            x = np.random.default_rng([comm.rank, d]).standard_normal(d)
            residual = np.zeros(d)
            for k in range(2):
                parts = channel.compress(x, k, 3, residual)
                results += [parts.own.tobytes(), parts.total.tobytes(), residual.tobytes()]
        results.append(counts(channel))
    return results


@pytest.mark.parametrize("name", sorted(Compressor.known()))
def test_threads_give_the_same_sums_and_counts(name, comm, on_threads):
    assert sums(name, comm) == on_threads(lambda c: sums(name, c))


def training(name, steps, comm):
    """A short run; its whole state as bytes, with what it cost."""
    target = objective("logistic", 0.0, 0.05, "dense", comm)
    algorithm, channel = Saga(preconditioner=steps), Channel(comm, 3, Compressor.make(name), downlink=True)
    state = algorithm.init(target, channel)
    for k in range(12):
        algorithm.step(k, state, target, channel)
    return pack(state).tobytes(), counts(channel)


@pytest.mark.parametrize("steps", ["auto", "none"])
@pytest.mark.parametrize("name", ["quantised", "participation", "rand-k", "top-k"])
def test_training_is_that_of_threads(name, steps, comm, on_threads):
    assert training(name, steps, comm) == on_threads(lambda c: training(name, steps, c))


def curvatures(comm):
    """A metric in 16 bits, small enough for one allgather and too large for it."""
    results = []
    for d in (7, 300):
        x = np.random.default_rng([comm.rank, d]).standard_normal((2 * d, d))
        channel = Channel(comm, 0, Compressor.make("quantised"))
        results += [curvature_sum(x.T @ x, np.eye(d), channel).tobytes(), counts(channel)]
    return results


def test_curvatures_in_short_numbers_are_those_of_threads(comm, on_threads):
    assert curvatures(comm) == on_threads(curvatures)
