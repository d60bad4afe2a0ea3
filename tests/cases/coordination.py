"""What coordination along a graph must do over threads and over MPI; each case is called on all ranks."""

from fractions import Fraction

import numpy as np
import pytest

from mpiopt.consensus.collectives import Coordination
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.simulated import Simulation
from mpiopt.consensus.topologies.base import Topology
from tests.cases.graphs import NAMES

COORDINATORS = list(Coordinator.known())


def numbers(rank, d=4):
    """Return numbers whose columns have different scales."""
    rng = np.random.default_rng(77 + rank)
    return rng.standard_normal(d) * 10.0 ** np.linspace(-8, 8, d)


def exact_mean(xs):
    return np.array([float(sum(map(Fraction, column)) / len(xs)) for column in np.transpose(xs).tolist()])


def assert_stated(agreed, xs):
    """Check that the value is within the stated error of the mean of xs."""
    away = np.abs(agreed.value - exact_mean(xs))
    assert np.all(away <= agreed.error * np.max(np.abs(xs), axis=0) + 5e-324)


def made(comm, coordinator, topology):
    graph = Topology.make(topology).graph(comm.size)
    return graph, Coordination(Coordinator.make(coordinator), comm.graph(graph.outgoing[comm.rank]))


def every_coordinator_gives_the_mean_and_its_price(comm):
    xs = [numbers(rank) for rank in range(comm.size)]
    for name in COORDINATORS:
        for topology in ("ring", "complete", "random-k"):
            graph, coordination = made(comm, name, topology)
            assert coordination.graph == graph
            simulated = Simulation(Coordinator.make(name), graph).mean(xs)[comm.rank]
            got = coordination.mean(xs[comm.rank])
            assert_stated(got, xs)
            assert len({x.tobytes() for x in comm.allgather(got.value)}) == 1
            assert got.value.tobytes() == simulated.value.tobytes()
            assert got[1:] == simulated[1:]
            stated = coordination.coordinator.rounds(coordination.view, coordination.learned)
            assert (
                got.rounds == stated if stated is not None else got.rounds % max(1, coordination.view.diameter) == 0
            )
            spent = coordination.spent
            assert spent.rounds == spent.rounds_to_learn + got.rounds
            assert spent.bytes_sent == spent.bytes_to_learn + got.bytes_sent


def what_was_learned_is_used_again(comm):
    for name in COORDINATORS:
        _, coordination = made(comm, name, "exponential")
        rounds = []
        for call in range(3):
            xs = [numbers(10 * call + rank) for rank in range(comm.size)]
            got = coordination.mean(xs[comm.rank])
            rounds.append(got.rounds)
            assert_stated(got, xs)
        assert coordination.spent.rounds == coordination.spent.rounds_to_learn + sum(rounds)


def shapes_are_kept(comm):
    for name in COORDINATORS:
        _, coordination = made(comm, name, "ring")
        assert coordination.mean(np.array(2.5)).value == 2.5
        assert coordination.mean(np.ones((2, 3))).value.shape == (2, 3)
        assert coordination.sum(np.ones((0,))).value.shape == (0,)
        assert coordination.sum(np.full(2, 1.0)).value == pytest.approx(comm.size, rel=1e-4)
        assert coordination.max(np.array(comm.rank)).value == comm.size - 1
        assert coordination.max(np.zeros(2)).rounds == coordination.view.diameter


def flooding_adds_as_the_communicator(comm):
    x = numbers(comm.rank, 50)
    for topology in NAMES:
        _, coordination = made(comm, "flooding", topology)
        assert coordination.sum(x).value.tobytes() == comm.sum(x).tobytes()


def what_is_not_finite_is_an_error_on_all_ranks(comm):
    last = comm.rank == comm.size - 1
    for name in COORDINATORS:
        _, coordination = made(comm, name, "ring")
        for wrong in (np.nan, np.inf, -np.inf):
            with pytest.raises(ArithmeticError):
                coordination.mean(np.array([1.0, wrong if last else 2.0]))
        if comm.size > 1:
            with pytest.raises(ArithmeticError):
                coordination.sum(np.full(2, 1.7e308))
        assert coordination.mean(np.ones(1)).value == pytest.approx(1.0, rel=1e-4)


CASES = [
    every_coordinator_gives_the_mean_and_its_price,
    what_was_learned_is_used_again,
    shapes_are_kept,
    flooding_adds_as_the_communicator,
    what_is_not_finite_is_an_error_on_all_ranks,
]
