"""The parts of parameter servers: messages, views, store, registry, backlogs, faults, rows; and plain SGD."""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.runtime import view as views
from mpiopt.studies.parameter_server.runtime.actor import Compute, RankState, Receive, Send
from mpiopt.studies.parameter_server.runtime.examples import load, read
from mpiopt.studies.parameter_server.runtime.faults import Fault, fault
from mpiopt.studies.parameter_server.runtime.host import Host, counts_of
from mpiopt.studies.parameter_server.runtime.log import ServerLog
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind, Received, decode, encode
from mpiopt.studies.parameter_server.runtime.process import SILENT, Process
from mpiopt.studies.parameter_server.runtime.registry import Registry, Timing
from mpiopt.studies.parameter_server.runtime.store import ANY_VERSION, StoreContents
from mpiopt.studies.parameter_server.runtime.view import Role, initial_view
from mpiopt.studies.parameter_server.runtime.worker import served
from mpiopt.studies.parameter_server.servers.consistency import asynchronous, synchronous
from tests.cases.parameter_server import COSTS, TIMING, death, gradients, record, task, weights

G = np.ones(3, np.float32)
draw = np.random.default_rng(0)


@pytest.mark.parametrize("vector", [None, G, np.arange(4.0), np.arange(4)])
def test_a_message_survives_encoding(vector):
    sent = ActorMessage(MessageKind.GRADIENT, 2**40, -3, vector)
    wire = encode(sent)
    assert wire.nbytes == sent.nbytes
    found = decode(wire)
    assert found[:3] == sent[:3]
    if vector is None:
        assert found.vector is None
    else:
        assert found.vector.dtype == vector.dtype
        assert (found.vector == vector).all()


def test_a_view_keeps_the_order_of_chains():
    view = initial_view(workers=2, servers=3, stores=0, spares=1, pending=1)
    assert view.with_role(Role.SERVER) == (1, 2, 3)
    assert views.decode(views.encode(view)) == view
    later = view.assign(1, Role.GONE).assign(6, Role.SERVER).assign(1, Role.SERVER)
    assert later.with_role(Role.SERVER) == (2, 3, 6, 1)
    assert later.head(Role.SERVER) == 2
    assert [later.successor(rank) for rank in (2, 3, 6, 1)] == [3, 6, 1, None]
    assert later.head(Role.STORE) is None
    assert later.number == 3


def store_with(pending=0, version=0):
    made = StoreContents(1000)
    made.apply(ActorMessage(MessageKind.SAVE, version, 0, G))
    for k in range(pending):
        made.apply(ActorMessage(MessageKind.APPEND, k, 0, k * G))
    return made


def test_a_store_drops_what_a_commit_used_up_and_refuses_a_late_one():
    made = store_with(5, version=7)
    made.apply(ActorMessage(MessageKind.COMMIT, 7, 3, 2 * G))
    assert (made.version, len(made.queue), made.queue[0][0]) == (8, 2, 3)
    made.apply(ActorMessage(MessageKind.COMMIT, 7, 2, 9 * G))  # of a server that was taken for dead
    assert (made.version, len(made.queue)) == (8, 2)
    assert (made.weights == 2 * G).all()


def test_a_store_answers_a_worker_when_it_can():
    made = StoreContents(2)
    assert list(made.request(Received(4, ActorMessage(MessageKind.FETCH, -1, 11)))) == list(made.answers()) == []
    made.apply(ActorMessage(MessageKind.SAVE, 0, 0, G))
    (send,) = made.answers()
    assert (send.to, send.message[:3]) == (4, (MessageKind.WEIGHTS, 0, 11))
    list(made.request(Received(4, ActorMessage(MessageKind.FETCH, 0, 12))))
    (send,) = made.answers()
    assert send.message.vector is None  # it has them
    for _ in range(2):
        made.apply(ActorMessage(MessageKind.APPEND, 0, 0, G))
    list(made.request(Received(4, ActorMessage(MessageKind.FETCH, 0, 13))))
    assert list(made.answers()) == []  # no room
    list(made.request(Received(5, ActorMessage(MessageKind.FETCH, ANY_VERSION, 0))))
    assert [send.to for send in made.answers()] == [5]
    made.apply(ActorMessage(MessageKind.COMMIT, 0, 1, G))
    assert [send.to for send in made.answers()] == [4]


def test_a_store_hands_all_of_it_to_a_new_one():
    made, other = store_with(4, version=3), StoreContents(10)
    for send in made.copy(9):
        other.apply(send.message)
    assert (other.version, [v for v, _ in other.queue]) == (3, [0, 1, 2, 3])
    assert other.nbytes == made.nbytes == 5 * G.nbytes


def test_the_server_asks_for_more_than_a_window(monkeypatch):
    from mpiopt.studies.parameter_server.runtime import store

    monkeypatch.setattr(store, "WINDOW", 3 * 4 * 310)  # three gradients of this model
    found = record("stateless", 2, [death(1.0)])
    assert max(u.gradients for u in found.updates) > 10
    computed, applied = gradients(found)
    assert computed - 6 <= applied <= computed


def test_rules_for_a_backlog():
    small = Backlog.make("small-step", {"most": 3, "stale": 1e-3})
    assert [small.step(1e-2, n, 1.0) for n in (1, 3, 4, 400)] == [1e-2, 1e-2, 1e-3, 1e-3]
    stale = Backlog.make("staleness")
    assert [stale.weight(a, p, 1.0) for a, p in ((0, 0), (1, 0), (2, 3))] == [1.0, 0.5, pytest.approx(1 / 6)]
    assert Backlog.make("mean", {"times": 2.0}).step(0.1, 40, 1.0) == pytest.approx(0.005)
    clip = Backlog.make("clip", {"longest": 2.0})
    assert [clip.step(0.1, 5, norm) for norm in (0.0, 1.0, 4.0)] == [0.1, 0.1, pytest.approx(0.05)]
    for name, option in (("small-step", "stale"), ("mean", "times"), ("clip", "longest")):
        with pytest.raises(ValueError, match="greater than 0"):
            Backlog.make(name, {option: 0.0})


@pytest.mark.parametrize("name", Backlog.known())
def test_every_rule_gives_one_step_for_a_backlog(name):
    found = record("stateless", 2, [death(1.0)], job=task(name))
    backlog = max(found.updates, key=lambda u: u.gradients)
    assert backlog.gradients > 30
    assert 0.0 < backlog.step <= 1e-2


def test_synchronous_is_plain_gradient_descent_on_the_sum():
    """w_{t+1} = w_t − η Σ_k g_k(w_t), in the order of the workers; the ranks of the workers are 3, 4, 5."""
    job = task()
    shown = weights(record("sync-checkpoint", 3, every=0.0, timing=Timing(2.0), job=job))
    w = job.start()
    for t, (version, found) in enumerate(shown):
        w = job.stepped(w, [job.gradient(w, rank, 0, t) for rank in (3, 4, 5)])
        assert version == t + 1
        assert (found == w).all()
    assert len(shown) > 30


def test_with_one_worker_asynchronous_is_synchronous():
    runs = [weights(record(f"{which}-chain", 1, every=0.0, timing=Timing(1.0))) for which in ("sync", "async")]
    assert len(runs[0]) == len(runs[1]) > 15
    for (_, w), (_, v) in zip(*runs, strict=True):
        assert (w == v).all()


def test_an_asynchronous_gradient_is_of_the_weights_that_the_worker_read():
    """Two asynchronous workers: the second gradient is of the weights before the first step."""
    two = weights(record("async-checkpoint", 2, every=0.0, timing=Timing(1.0)))
    job = task()
    w = job.start()
    first_ = job.gradient(w, 3, 0, 0)
    assert (two[0][1] == job.stepped(w, [first_])).all()
    second = job.stepped(two[0][1], [job.gradient(w, 4, 0, 0)])  # taken at the weights of the start
    assert (two[1][1] == second).all()


def test_the_published_fault_starts_anew_while_another_kill_is_planned():
    faults = [death(2.0), death(4.5)]
    timing = Timing(7.0, 0.5, 1.0)
    after = {}
    for restores in (False, True):
        options = {"every": 10, "no_restore_while_kills_pending": restores}
        found = record("sync-checkpoint", 1, faults, options=options, timing=timing)
        lost = [e.seconds for e in found.events if e.what == "lost"]
        after[restores] = [next(u.version for u in found.updates if u.seconds > t) for t in lost]
    assert after[False][0] > 10
    assert after[True][0] == 1
    assert after[True][1] > 10  # the last kill: restored


def registry(spares=1):
    clock = [0.0]
    state = RankState(0, initial_view(2, 1, 0, spares, 0), lambda: clock[0])
    return clock, Registry(state, Timing(10.0, 1.0, 3.0), [], ServerLog())


def heartbeat(rank, incarnation=0):
    return Received(rank, ActorMessage(MessageKind.HEARTBEAT, incarnation, 0, np.zeros(11)))


def test_the_registry_replaces_silent_ranks_after_the_outage():
    clock, found = registry()
    for now in (0.5, 1.0, 1.5):
        clock[0] = now
        for rank in (2, 3, 4):
            found.handle(heartbeat(rank))
        found.detect_deaths()
        found.fill_vacancies()
    assert [(e.what, e.rank, e.role, e.first) for e in found.log.events] == [("lost", 1, Role.SERVER, True)]
    clock[0] = 3.0
    for rank in (2, 3, 4):
        found.handle(heartbeat(rank))
    found.fill_vacancies()
    assert found.state.view.head(Role.SERVER) == 4
    assert found.state.view.with_role(Role.SPARE) == ()
    found.handle(heartbeat(1))  # it was not dead: it may help again
    assert found.state.view.with_role(Role.SPARE) == (1,)


def test_a_restarted_rank_has_lost_its_role_even_if_it_was_quick():
    clock, found = registry(spares=0)
    clock[0] = 0.4
    found.handle(heartbeat(2, incarnation=1))
    assert found.state.view.workers == (3,)
    assert found.state.view.with_role(Role.SPARE) == (2,)
    clock[0] = 3.1
    found.fill_vacancies()
    assert found.state.view.workers == (3, 2)


def test_silence_is_no_death_where_mpi_thinks_the_rank_alive():
    clock, found = registry()
    found.failed = {2}
    clock[0] = 5.0
    found.detect_deaths()
    assert [e.rank for e in found.log.events] == [2]
    clock[0] = 11.0
    found.detect_deaths()
    assert len(found.log.events) == 4  # but not for ever


def test_a_spare_keeps_messages_for_the_role_that_it_gets():
    """Its predecessor in a chain may know the view sooner."""
    seen = []

    def actors(state):
        if state.view.places[1].role is Role.SERVER:
            seen.append(list(state.inbox))
        while True:
            received = yield Send(0, ActorMessage(MessageKind.ACK))
            if received:
                state.inbox.append(received)

    view = initial_view(0, 0, 0, 1, 0)
    host = Host(RankState(1, view, lambda: 0.0), actors)
    host.resume(None)
    early = Received(2, ActorMessage(MessageKind.REPLICA, 3, 0, G))
    host.state.inbox.append(early)
    newer = view.assign(1, Role.SERVER)
    message = ActorMessage(MessageKind.VIEW, newer.number, 0, views.encode(newer))
    assert host.update_view(message)
    host.resume(None)
    assert seen == [[early]]
    assert not host.update_view(message)  # the view is not newer


def test_counters_survive_a_heartbeat():
    state = RankState(1, initial_view(1, 1, 0, 0, 0), lambda: 0.0)
    state.counts.computed, state.counts.idle = 7, 1.5
    assert counts_of(Host(state, lambda state: iter(())).heartbeat()) == state.counts


def test_a_rank_that_is_never_stopped_says_so():
    def main(comm):
        def new_host(incarnation):
            state = RankState(comm.rank, initial_view(0, 0, 0, 1, 0), lambda: 100.0, incarnation)
            return Host(state, lambda state: forever())

        Process(comm, new_host, 0.1, SILENT, 10.0).run()

    def forever():
        while True:
            yield Send(0, ActorMessage(MessageKind.ACK))

    with pytest.raises(RuntimeError, match="is the registry, rank 0, dead"):
        spmd(1, main)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"at": "30 s", "outage": "20s"}, Fault(30.0, 0, Role.SERVER, 0, 20.0)),
        ({"at": 400, "what": "worker 1"}, Fault(None, 400, Role.WORKER, 1, 2.0)),
        ({"at": "1.5 s", "what": "store"}, Fault(1.5, 0, Role.STORE, 0, 2.0)),
    ],
)
def test_faults_are_read(block, expected):
    assert fault(block, 60.0, draw) == expected


def test_a_random_fault_is_within_the_run():
    times = [fault({"at": "random", "outage": "3 s"}, 13.0, draw).seconds for _ in range(50)]
    assert 1.0 <= min(times) < max(times) <= 9.0


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"when": "3 s"}, "no key 'when'"),
        ({}, 'at must be a time such as "30 s", a number of updates or "random", not None'),
        ({"at": 3.5}, "not 3.5"),
        ({"at": -1}, "not -1"),
        ({"at": "3 s", "outage": 2}, 'outage must be a time such as "30 s", not 2'),
        ({"at": "3 s", "what": "head"}, "what must be one of server, worker, store"),
        ({"at": "3 s", "what": "worker one"}, "not 'worker one'"),
    ],
)
def test_a_wrong_fault_is_one_line(block, message):
    with pytest.raises(ValueError, match=message) as error:
        fault(block, 60.0, draw)
    assert "\n" not in str(error.value)


def test_pixels_are_kept_as_bytes_and_come_as_in_the_paper(tmp_path):
    pixels = draw.integers(0, 256, (40, 16))
    pixels[0, 0] = 255
    rows = np.column_stack([pixels, np.arange(40) % 4])
    path = tmp_path / "images.csv"
    np.savetxt(path, rows, fmt="%d", delimiter=",")
    table = read(str(path), 30, None)
    assert len(table.y) == 30
    assert set(table.y) == {0.0, 1.0, 2.0, 3.0}
    sets = load(str(path), "", 30, 8, 0)
    assert sets.train.x.dtype == np.uint8
    assert (len(sets.train), len(sets.test), sets.train.shape) == (30, 8, (16, 4))
    x, y = sets.train.all()
    assert x.dtype == np.float32
    assert np.allclose(x, (sets.train.x / 255 - 0.5) / 0.5, atol=1e-6)
    assert set(y) <= {0.0, 1.0, 2.0, 3.0}


def test_sparse_rows_and_targets_are_read_and_standardised(tmp_path):
    path = tmp_path / "rows.svm"
    path.write_text("".join(f"{0.5 * k} 1:{k} 3:{k * k}\n" for k in range(40)))
    sets = load(str(path), "", 100, 10, 0)
    assert sets.train.classes == 0
    x, _ = sets.train.all()
    assert np.allclose(x.mean(axis=0), 0.0, atol=1e-5)
    assert np.allclose(x.std(axis=0), [1.0, 0.0, 1.0], atol=1e-5)


def test_rows_without_labels_are_refused(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("1,2\n0,3\n")
    with pytest.raises(ValueError, match="at least 8 with labels"):
        load(str(path), "", 100, 10, 0)


def test_costs_are_what_virtual_time_is_made_of():
    found = record("sync-checkpoint", 1, timing=TIMING)
    turn = (
        COSTS.gradient
        + COSTS.step
        + 2 * COSTS.transit(ActorMessage(MessageKind.WEIGHTS, 0, 0, np.zeros(310, np.float32)))
    )
    assert len(found.updates) == pytest.approx(TIMING.seconds / turn, abs=2)


def driven(actor, *messages):
    """Return the operations of an actor before any message and after each message, up to its next wait."""
    done, value = [], None
    for received in [None, *messages]:
        turn = []
        operation = actor.send(value if received is None else received)
        while not isinstance(operation, Receive):
            turn.append(operation)
            operation = actor.send(operation.call() if isinstance(operation, Compute) else None)
        done.append(turn)
    return done


def test_a_worker_does_not_work_for_an_earlier_server():
    job = task()
    state = RankState(3, initial_view(1, 2, 0, 0, 0), lambda: 0.0)
    w = job.start()
    new = Received(2, ActorMessage(MessageKind.WEIGHTS, 7, 5, w))
    old = Received(1, ActorMessage(MessageKind.WEIGHTS, 9, 4, w))
    _, answered, ignored, again = driven(served(state, job), new, old, new)
    assert [type(operation) for operation in answered] == [Compute, Send]
    assert answered[1].to == 2
    assert answered[1].message[:3] == (MessageKind.GRADIENT, 7, 5)
    assert ignored == []
    assert len(again) == 2


@pytest.mark.parametrize("rounds", [synchronous, asynchronous])
def test_a_server_does_not_apply_a_gradient_for_another_server(rounds):
    job = task()
    state = RankState(1, initial_view(1, 1, 0, 0, 0)._replace(number=6), lambda: 0.0)
    g = job.start()
    foreign, own = (Received(2, ActorMessage(MessageKind.GRADIENT, 0, term, g)) for term in (5, 6))
    asked, ignored, applied = driven(rounds(state, job, 0, job.start(), lambda t, w: iter(())), foreign, own)
    assert asked[0].message[:3] == (MessageKind.WEIGHTS, 0, 6)
    assert ignored == []
    assert isinstance(applied[0], Compute)
