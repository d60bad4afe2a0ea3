"""DLAS-R-FTC over MPI: the same bits as over threads."""

import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.compress.channel import Channel
from tests.cases.problems import objective

pytestmark = pytest.mark.mpi


def models(comm, rule, coordinator):
    target, channel = objective("logistic", 0.0, 0.05, "dense", comm), Channel(comm, seed=3)
    algorithm = Algorithm.make("dlas", {"rule": rule, "coordinator": coordinator})
    state = algorithm.init(target, channel)
    for k in range(12):
        algorithm.step(k, state, target, channel)
    return state.w.tobytes(), channel.traffic.bytes_sent, channel.traffic.messages


@pytest.mark.parametrize("coordinator", ["finite-field", "ratio", "central"])
@pytest.mark.parametrize("rule", ["harmonic", "min", "global", "theoretical", "none"])
def test_over_mpi_it_is_the_run_over_threads(comm, rule, coordinator, on_threads):
    want = on_threads(lambda threads: models(threads, rule, coordinator))
    found = models(comm, rule, coordinator)
    assert found[0] == want[0]
    if coordinator != "central":
        assert found[1:] == want[1:]
