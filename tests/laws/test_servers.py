"""Laws of every parameter server: no death stops the training, and a death loses no more than the period."""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.studies.parameter_server.runtime import view
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import actors_of
from mpiopt.studies.parameter_server.runtime.process import SILENT, ServerRun, run
from mpiopt.studies.parameter_server.runtime.registry import Timing
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.servers.base import Server
from tests.cases.parameter_server import SETS, TIMING, death, gradients, record, task, weights

NAMES = tuple(Server.known())


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def last(found):
    return found.updates[-1]


@pytest.mark.parametrize("workers", [1, 3])
def test_without_deaths_every_gradient_is_applied(name, workers):
    found = record(name, workers)
    computed, applied = gradients(found)
    assert computed > 90 * workers
    # At the end one of each worker is under way, and a stateless server has a batch in its hands.
    assert computed - 3 * workers - 2 <= applied <= computed
    assert [u.version for u in found.updates] == list(range(1, len(found.updates) + 1))
    assert found.events == []


def test_the_same_bits_in_every_run(name):
    runs = [record(name, 2, [death(2.0)]) for _ in range(2)]
    assert runs[0].updates == runs[1].updates
    for (version, w), (other, v) in zip(*map(weights, runs), strict=True):
        assert version == other
        assert (w == v).all()


@pytest.mark.parametrize("role", [Role.SERVER, Role.WORKER, Role.STORE])
def test_training_goes_on_after_any_death(name, role):
    found = record(name, 2, [death(2.0, role)])
    there = role is not Role.STORE or Server.make(name).stores
    assert [e.what for e in found.events] == (["killed", "lost", "started"] if there else [])
    if there:
        assert 2.3 < found.events[1].seconds < 2.7
        assert 3.0 <= found.events[2].seconds < 3.2
    assert last(found).seconds > 4.9
    assert sum(u.seconds > 4.0 for u in found.updates) > 15


def test_what_a_death_undoes_is_at_most_the_period(name):
    server = Server.make(name)
    for instant in np.linspace(1.9, 2.1, 5).tolist():
        found = record(name, 2, [death(instant)], timing=Timing(3.6, 0.5, 1.0))
        lost = found.events[1].seconds
        before = [u for u in found.updates if u.seconds <= lost][-1]
        after = next(u for u in found.updates if u.seconds > lost)
        undone = before.version - after.version + 1
        assert undone <= (0 if server.period is None else server.period + 1)
        assert undone >= -1  # its last word may have been the update, and not the notice of it


def test_deaths_one_after_another_and_together(name):
    servers = [death(1.5), death(1.7), death(3.2, outage=0.6), death(3.2, Role.WORKER), death(4.0, Role.STORE)]
    found = record(name, 2, servers, spares=1, timing=Timing(7.0, 0.5, 1.0))
    assert sum(e.what == "killed" for e in found.events) >= 4
    assert last(found).seconds > 6.8


def test_a_plan_by_updates(name):
    found = record(name, 1, [Fault(None, 30, Role.SERVER, 0, 1.0)])
    killed = found.events[0]
    reached = next(u for u in found.updates if u.version >= 30)
    assert killed.what == "killed"
    assert 0.0 <= killed.seconds - reached.seconds < 0.06
    assert last(found).seconds > 4.9


def test_all_servers_and_no_spare_left(name):
    """The dead come back as spares, and take the roles that are vacant."""
    server = Server.make(name)
    faults = [death(1.0 + 0.01 * k, Role.SERVER) for k in range(server.servers)]
    found = record(name, 1, faults, spares=0)
    assert last(found).seconds > 4.9


@pytest.mark.parametrize("workers", [1, 2])
def test_between_threads_with_a_server_that_falls_silent(name, workers):
    server, job = Server.make(name), task()
    places = view.initial_view(workers, server.servers, server.stores, 1, 1)
    plan = ServerRun(places, actors_of(server, job), Timing(1.6, 0.3, 0.5), [death(0.4, outage=0.5)], 0.1)

    def main(comm):
        found = run(plan, job, comm, comm, SILENT)
        comm.drain()
        return found

    found = spmd(len(places.places), main)[0]
    assert [e.what for e in found.events[:2]] == ["killed", "lost"]
    assert last(found).seconds > found.events[1].seconds
    assert any(incarnation == 1 for _, incarnation in found.counts)  # the silent one came back with nothing in memory
    assert found.accuracies(lambda w: job.accuracy(w, SETS.test))[-1].accuracy >= 0.0


def test_chains_of_any_length_outlive_all_but_one():
    for name in ("sync-chain", "async-chain"):
        for replicas in (1, 2, 5):
            faults = [death(1.0 + 0.6 * k, outage=50.0) for k in range(replicas - 1)]
            found = record(name, 2, faults, spares=0, options={"replicas": replicas, "every": 10})
            assert last(found).seconds > TIMING.seconds - 0.1
            assert last(found).version > 40


def test_a_store_that_dies_with_its_server_hands_over_all_that_is_pending():
    faults = [death(2.0), death(2.6, Role.STORE)]
    found = record("stateless", 2, faults, spares=2)
    computed, applied = gradients(found)
    assert computed - applied <= 12  # those under way to the store that died
    assert max(u.gradients for u in found.updates) > 20


def test_without_any_store_left_a_checkpoint_starts_anew():
    found = record("sync-checkpoint", 1, [death(2.0, Role.STORE, outage=50.0), death(3.0)], options={"every": 10})
    after = next(u for u in found.updates if u.seconds > 4.0)
    assert after.version == 1


@pytest.mark.parametrize("name", ["sync-chain", "async-chain"])
def test_a_new_tail_gets_a_copy_at_once(name):
    """The one that stands by dies, a spare takes its place, then the head dies long before the next replication."""
    faults = [death(1.0, place=1), death(3.0)]
    found = record(name, 1, faults, options={"replicas": 2, "every": 100_000})
    joined = next(e.seconds for e in found.events if e.what == "started")
    fed = [u for u in found.updates if u.seconds <= joined][-1].version
    lost = found.events[-2].seconds
    after = next(u for u in found.updates if u.seconds > lost)
    assert fed > 30
    assert fed <= after.version <= fed + 4


def test_one_that_is_dead_already_is_not_killed_again():
    found = record("sync-chain", 1, [death(1.5), death(1.7)], timing=Timing(3.0, 0.5, 1.0))
    assert len({e.rank for e in found.events if e.what == "killed"}) == 2
