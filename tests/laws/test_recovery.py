"""The law of recovery, for every strategy and algorithm: if a rank dies at any exchange, the end is certified."""

import functools
import random

import numpy as np
import pytest

from mpiopt.algorithms import portfolio
from mpiopt.algorithms.base import Algorithm
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.state import Layout, layouts
from mpiopt.resilience.recovery.base import Recovery
from mpiopt.resilience.replicas import (
    Inventory,
    Snapshot,
    fill,
    label_of,
    pack_replica,
    plan_newest,
    plan_rollback,
    shard_place,
)
from mpiopt.results.result_file import read_result
from tests.cases.mortal_ranks import outlive, trained
from tests.cases.problems import SIZES, objective

RECOVERIES = [name for name, member in sorted(Recovery.known().items()) if member.continues]
CREWS = ((2, 1), (3, 1), (5, 2))  # ranks, and how many of them die
EXACT = sorted(name for name, member in Algorithm.known().items() if member.exact)
DATA = "generate:n=300,d=6,condition=1e1,task=binary"
SAME = ["round", "epoch", "objective", "certificate", "step_size"]
ALGORITHM = {"saga": "saga[preconditioner=none,local_steps=20]", "lbfgs": "lbfgs[sampled=false]"}


def words(folder, recovery, algorithm, *more):
    return [
        *(DATA, "--algorithm", ALGORITHM.get(algorithm, algorithm), "--l2", "0.01", "--tol", "1e-5", "--quiet"),
        *("--recovery", recovery, "--checkpoint-every", "7rounds", "--out", str(folder / "run.h5"), *more),
    ]


@functools.cache
def exchanges(size, algorithm, folder):
    """Return how many exchanges a rank makes in a run without deaths."""
    made = []

    def main(crew):
        from types import SimpleNamespace

        from mpiopt.resilience.signals import StopSignal
        from mpiopt.training.train import train

        code = train(words(folder, "stateless", algorithm), SimpleNamespace(membership=crew), StopSignal())
        made.append(crew.exchanges)
        return code

    assert set(outlive(size, {}, main).values()) == {0}
    return min(made)


@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("algorithm", EXACT)
def test_whichever_rank_dies_at_whatever_exchange_the_end_is_certified(algorithm, recovery, tmp_path):
    chance, died = random.Random(f"{algorithm} {recovery}"), 0
    # Each recovery has another number of ranks with each algorithm; `make torture` has many more deaths.
    turn = (RECOVERIES.index(recovery) + EXACT.index(algorithm)) % len(CREWS)
    for size, count in CREWS[turn : turn + 1]:
        whole = exchanges(size, algorithm, tmp_path)
        # How often ranks ask for signals depends on the clock: some runs end a few exchanges sooner than others.
        deaths = {r: chance.randint(1, max(1, whole * 3 // 4)) for r in chance.sample(range(size), count)}
        codes = trained(size, deaths, words(tmp_path, recovery, algorithm))
        assert set(codes.values()) == {0}, (size, deaths)
        result = read_result(tmp_path / "run.h5")
        assert result.history["certificate"][-1] <= 1e-5, (size, deaths)
        assert result.provenance["ranks"] == len(codes) >= size - count, (size, deaths)
        died += size - len(codes)
    assert died


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_whichever_rank_dies_while_auto_changes_the_end_is_certified(recovery, tmp_path, monkeypatch):
    def in_turn(self, rows, events):  # another algorithm after every evaluation; two have fields of the rows
        order = ["newton-cg", "saga", "newton", "lbfgs"]
        return self.named(order[sum(event.kind == portfolio.EVENT for event in events) % len(order)])

    monkeypatch.setattr(portfolio.Portfolio, "next", in_turn)
    (tmp_path / "whole").mkdir()
    assert set(trained(3, {}, words(tmp_path / "whole", recovery, "auto")).values()) == {0}
    changes = [event for event in read_result(tmp_path / "whole" / "run.h5").events if event.kind == portfolio.EVENT]
    assert len(changes) >= 3
    chance, whole = random.Random(recovery), exchanges(3, "auto", tmp_path)
    for k in range(4):
        folder = tmp_path / str(k)
        folder.mkdir()
        codes = trained(3, {chance.randrange(3): chance.randint(1, whole)}, words(folder, recovery, "auto"))
        assert set(codes.values()) == {0}, k
        result = read_result(folder / "run.h5")
        assert result.history["certificate"][-1] <= 1e-5, k


@pytest.mark.parametrize("recovery", [name for name in RECOVERIES if Recovery.known()[name].exact])
@pytest.mark.parametrize("algorithm", ["saga", "lbfgs", "newton", "working-set"])
def test_with_a_spare_an_exact_recovery_leaves_no_trace(algorithm, recovery, tmp_path):
    spare = ("--spares", "1")
    for folder in (tmp_path / "whole", tmp_path / "dead"):
        folder.mkdir()
    assert set(trained(4, {}, words(tmp_path / "whole", recovery, algorithm, *spare)).values()) == {0}
    whole = read_result(tmp_path / "whole" / "run.h5")
    for victim, share in ((0, 0.3), (1, 0.6), (2, 0.9)):
        at = int(share * exchanges(3, algorithm, tmp_path))
        codes = trained(4, {victim: at}, words(tmp_path / "dead", recovery, algorithm, *spare))
        assert codes == {rank: 0 for rank in range(4) if rank != victim}
        mine = read_result(tmp_path / "dead" / "run.h5")
        assert mine.provenance["ranks"] == 3
        assert mine.coef.tobytes() == whole.coef.tobytes(), (victim, at)
        for column in SAME:
            assert mine.history[column].tobytes() == whole.history[column].tobytes(), column


def test_without_recovery_a_lost_rank_ends_the_others_with_their_own_code(tmp_path):
    assert trained(3, {1: 60}, words(tmp_path, "none", "saga")) == {0: 76, 2: 76}


def test_the_chain_goes_on_without_tables_when_neighbours_are_lost_at_once(tmp_path):
    at = exchanges(4, "saga", tmp_path) // 2
    codes = trained(4, {1: at, 2: at}, words(tmp_path, "chain[every=3]", "saga"))
    assert codes == {0: 0, 3: 0}
    assert read_result(tmp_path / "run.h5").history["certificate"][-1] <= 1e-5


@pytest.mark.parametrize("then", SIZES)
@pytest.mark.parametrize("first", SIZES)
def test_replicas_fill_a_state_on_any_number_of_ranks(first, then):
    algorithm = Algorithm.make("saga")

    def make(comm):
        target, channel = objective("softmax", 0.0, 0.05, "csr", comm), Channel(comm, seed=3)
        state = algorithm.init(target, channel)
        algorithm.step(0, state, target, channel)
        return state, target.shard, pack_replica(state, shard_place(target.shard, comm), 1, 7)

    made = spmd(first, make)
    table = np.empty((160, 3))
    for state, shard, _ in made:
        table[shard.start + shard.order] = state.table

    def take(comm):
        target = objective("softmax", 0.0, 0.05, "csr", comm)
        blank, place = algorithm.blank(target, comm.size), shard_place(target.shard, comm)
        mine = [replica for rank, (*_, replica) in enumerate(made) if rank % comm.size == (comm.rank + 1) % comm.size]
        fill(blank, place, mine, list(range(first)), comm)
        np.testing.assert_array_equal(blank.table, table[place.start + place.order])
        for name, layout in layouts(blank).items():
            if layout is Layout.PER_RANK and first == then:
                np.testing.assert_array_equal(getattr(blank, name), getattr(made[comm.rank][0], name))
        return True

    assert all(spmd(then, take))


def inventory(ages, *labels):
    return Inventory(ages, [label_of(np.array(label, np.int64).view(np.uint8)) for label in labels])


def test_a_rollback_needs_the_replicas_of_all_ranks():
    # Of three ranks the second is dead; the first copies are whole, the second ones were broken off.
    first = inventory([(1, 4), (1, 8)], (1, 4, 0, 3, 0, 5), (1, 4, 2, 3, 9, 5), (1, 8, 0, 3, 0, 5))
    third = inventory([(1, 4)], (1, 4, 2, 3, 9, 5), (1, 4, 1, 3, 5, 4))
    choice = plan_rollback([first, third])
    assert (choice.attempt, choice.k, choice.source, choice.saved_ranks) == (1, 4, 0, [0, 1, 2])
    assert sum(len(labels) for labels in choice.sends.values()) == 3
    assert plan_rollback([first]) is None
    assert plan_newest([first, third]).k == 8
    assert plan_newest([inventory([])]) is None


@pytest.mark.parametrize("name", sorted(Recovery.known()))
def test_options_round_trip_and_errors_are_one_line(name):
    one = Recovery.make(name)
    assert Recovery.make(name, parse_spec(f"{name}[digest=7]").options).digest == 7
    assert eval(repr(one), {type(one).__name__: type(one)}) == one
    with pytest.raises(ValueError, match="digest must be at least 0"):
        Recovery.make(name, {"digest": -1})


def test_snapshots_are_ordered_by_attempt_and_round():
    assert Snapshot(2, 3, 0.0, [], 0, {}).age > Snapshot(1, 9, 0.0, [], 0, {}).age
