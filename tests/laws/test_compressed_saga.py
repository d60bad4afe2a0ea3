"""Compressed dSAGA reaches the exact optimum: over every compressor, with bounds that hold at every evaluation.

Combinations are sampled: every compressor meets both kinds of local steps, both orders of the rows, one way and both
ways, but not all of them at once; five ranks, of which one has no row, meet five compressors.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest

from mpiopt.algorithms import preconditioner, warm_start
from mpiopt.algorithms.saga import preconditioned_steps
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.lockstep import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.core.state import Layout, layouts, pack, unpack
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective import duality_gap
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from tests.cases import problems
from tests.cases.certified import relative_gap

COMPRESSORS = [name for name in Compressor.known() if name != "none"]
ROUNDS = 4000


def posed(comm, loss="logistic", l1=0.0, order="iid", kind=np.float64):
    """Return one rank's objective: the rows of `problems`, unequal shards, as they come or sorted by label."""
    x, label, weight = problems.content(Loss.make(loss))
    sequence = np.argsort(label, kind="stable") if order == "by label" else np.arange(problems.TOTAL)
    lo, hi = problems.bounds(comm.size, comm.rank)
    mine = sequence[lo:hi]
    rows = DenseRows(np.ascontiguousarray(x[mine].astype(kind)))
    shard = Shard(
        rows, label[mine], weight[mine], np.arange(hi - lo), lo, problems.TOTAL, problems.FEATURES, intercept=True
    )
    return Objective(Loss.make(loss), Penalty.make("elastic-net", {"l1": l1, "l2": 0.05}), shard, problems.CLASSES)


@functools.cache
def optimum(loss, l1, kind=np.float64):
    """Return F at the optimum."""

    def main(comm):
        target, channel = posed(comm, loss, l1, kind=kind), Channel(comm)
        state = Newton().init(target, channel)
        for k in range(40):
            Newton().step(k, state, target, channel)
        return evaluate_exact(target, state.w, channel).value

    return spmd(1, main)[0]


def replicated(state):
    return [getattr(state, f).tobytes() for f, layout in layouts(state).items() if layout is Layout.REPLICATED]


def reached(comm, channel, algorithm=None, tol=1e-10, rounds=ROUNDS, **problem):
    """Run to a certificate of `tol`; check each bound; return rounds, gap and the replicated fields."""
    algorithm, target, plain = algorithm or Saga(), posed(comm, **problem), Channel(comm)
    best = optimum(problem.get("loss", "logistic"), problem.get("l1", 0.0), problem.get("kind", np.float64))
    labels, start = duality_gap.label_statistics(target, plain), evaluate_exact(target, target.zeros(), plain)
    state = algorithm.init(target, channel)
    for k in range(rounds):
        exact = algorithm.step(k, state, target, channel).exact
        if exact is None:
            continue
        true = evaluate_exact(target, state.w, plain)
        assert exact.value == pytest.approx(true.value, rel=1e-13)
        assert np.linalg.norm(exact.gradient - true.gradient) <= exact.error + 1e-14
        found = relative_gap(target, state.w, exact, start, labels)
        scale = exact.value - labels.floor
        assert found * scale >= true.value - best - 1e-15
        if found <= tol:
            return k + 1, (true.value - best) / scale, replicated(state)
    return None, (true.value - best) / scale, replicated(state)


def runs(size, name, downlink=False, memory="error-feedback", options=None, seed=3, **more):
    """Run `reached` on all ranks with this compressor."""

    def main(comm):
        return reached(comm, Channel(comm, seed, Compressor.make(name, options or {}), memory, downlink), **more)

    found = spmd(size, main)
    assert all(f[2] == found[0][2] for f in found)
    return found[0][:2]


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize(
    ("size", "downlink", "order", "steps"),
    [(2, False, "by label", "auto"), (3, True, "iid", "none")],
)
def test_the_optimum_is_reached_and_certified(name, size, downlink, order, steps):
    rounds, gap = runs(size, name, downlink, order=order, algorithm=Saga(preconditioner=steps))
    assert rounds is not None
    assert gap <= 1e-10


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("quantised", {"l1": 0.02}),
        ("sign", {"l1": 0.02}),
        ("natural", {"loss": "softmax"}),
        ("top-k", {"loss": "squared-hinge", "algorithm": Saga(preconditioner="diagonal")}),
        ("rand-k", {"loss": "squared"}),
    ],
)
@pytest.mark.parametrize("downlink", [False, True], ids=["one way", "both ways"])
def test_on_five_ranks_of_which_one_has_no_row(name, more, downlink):
    rounds, gap = runs(5, name, downlink, order="by label", **more)
    assert rounds is not None
    assert gap <= 1e-10


@pytest.mark.parametrize("loss", sorted(Loss.known()))
def test_every_loss(loss):
    kind = np.float32 if loss in ("huber", "softmax") else np.float64
    rounds, gap = runs(3, "quantised", True, loss=loss, order="by label", kind=kind)
    assert rounds is not None
    assert gap <= 1e-10


@pytest.mark.parametrize("variant", "ABC")
def test_every_correction(variant):
    rounds, _ = runs(3, "quantised", algorithm=Saga(variant=variant, preconditioner="none"), order="by label")
    assert rounds is not None


def test_difference_memory_reaches_the_optimum_as_well():
    for name, downlink in (("quantised", True), ("rand-k", False)):
        rounds, _ = runs(3, name, downlink, "difference", {}, order="by label", algorithm=Saga(preconditioner="none"))
        assert rounds is not None, name


def test_without_a_memory_it_stalls():
    """The negative control: the noise of compressed gradients that differ from rank to rank never vanishes."""
    options = {"levels": 1, "norm": "l2", "block": 0}
    plain = Saga(preconditioner="none")
    rounds, gap = runs(3, "quantised", False, "none", options, order="by label", algorithm=plain, rounds=300)
    assert rounds is None
    assert gap > 1e-7
    assert runs(3, "quantised", False, "error-feedback", options, order="by label", algorithm=plain)[0] is not None


@pytest.mark.parametrize("steps", ["auto", "none"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_stopping_packing_and_going_on_is_the_same_as_not_stopping(size, steps):
    names = COMPRESSORS if size == 2 else ("quantised", "top-k", "rand-k")
    for name in names:
        algorithm = Saga(preconditioner=steps)

        def main(comm, name=name, algorithm=algorithm):
            compressor = Compressor.make(name)
            target, channel = posed(comm, order="by label"), Channel(comm, 3, compressor, downlink=True)
            state = algorithm.init(target, channel)
            for k in range(9):
                algorithm.step(k, state, target, channel)
            other, again = algorithm.blank(target, comm.size), Channel(comm, 3, compressor, downlink=True)
            unpack(other, pack(state))
            algorithm.rebuild(other, target, again)
            assert pack(state).tobytes() == pack(other).tobytes()
            for k in range(9, 20):
                algorithm.step(k, state, target, channel)
                algorithm.step(k, other, target, again)
            return pack(state).tobytes() == pack(other).tobytes()

        assert all(spmd(size, main)), name


@pytest.mark.parametrize("steps", ["auto", "none"])
@pytest.mark.parametrize("downlink", [False, True], ids=["one way", "both ways"])
def test_a_run_goes_on_on_fewer_ranks(steps, downlink):
    """What is private to a rank is lost with it; the table follows the rows."""
    algorithm, kept = Saga(preconditioner=steps), {}

    def three(comm):
        target, channel = posed(comm), Channel(comm, 3, Compressor.make("quantised"), downlink=downlink)
        state = algorithm.init(target, channel)
        for k in range(12):
            algorithm.step(k, state, target, channel)
        kept[comm.rank] = {f: getattr(state, f).copy() for f in layouts(state)}

    def two(comm):
        target, channel = posed(comm), Channel(comm, 3, Compressor.make("quantised"), downlink=downlink)
        plain, state = Channel(comm), algorithm.blank(target, comm.size)
        table = np.concatenate([kept[r]["table"] for r in range(3)])
        for field, layout in layouts(state).items():
            if layout is Layout.REPLICATED:
                getattr(state, field)[...] = kept[0][field]
            elif layout is Layout.SHARDED:
                state.table[...] = table[target.shard.start :][: len(target.shard)]
        before = evaluate_exact(target, state.w, plain).value
        algorithm.rebuild(state, target, channel)
        np.testing.assert_allclose(plain.sum(state.known_own).reshape(state.w.shape), state.known, atol=0.2)
        labels, start = duality_gap.label_statistics(target, plain), evaluate_exact(target, target.zeros(), plain)
        for k in range(12, ROUNDS):
            exact = algorithm.step(k, state, target, channel).exact
            if exact is not None and relative_gap(target, state.w, exact, start, labels) <= 1e-10:
                assert exact.value <= before
                return exact.value
        return np.inf

    spmd(3, three)
    for value in spmd(2, two):
        assert value == pytest.approx(optimum("logistic", 0.0), rel=1e-9)


def owed(state, s):
    """Return what the downlink still owes of this rank's slice of G."""
    here = state.steps.coordinates()
    shape = here.of_gradient(state.own).shape
    return s * here.gradient(state.residual[: shape[0] * shape[1]].reshape(shape))


@pytest.mark.parametrize("loss", ["poisson", "squared-hinge"])
@pytest.mark.parametrize("steps", ["auto", "none", "diagonal"])
def test_what_all_know_stays_the_sum_when_coordinates_change(loss, steps, monkeypatch):
    """A new preconditioner, or a start that is given up, leaves nothing owed in old coordinates."""
    algorithm, built = Saga(preconditioner=steps), []
    original = preconditioner.build
    monkeypatch.setattr(preconditioner, "build", lambda *a: built.append(1) or original(*a))
    monkeypatch.setattr(preconditioned_steps, "TUNING", replace(TUNING, hardly=-1.0))  # a new one at each refresh
    believe_none = replace(warm_start.TUNING, least_rows=0, surprise=-1e9)
    monkeypatch.setattr(warm_start, "TUNING", believe_none)

    def main(comm):
        target, channel = (
            posed(comm, loss),
            Channel(comm, 3, Compressor.make("participation"), downlink=True),
        )
        state = algorithm.init(target, channel)
        moved = 0.0
        for k in range(40):
            algorithm.step(k, state, target, channel)
            d = state.steps.coordinates().of_gradient(state.own).size
            rest = comm.sum(state.known_own - owed(state, channel.shrink(d))) - state.known
            assert np.abs(rest).max() <= 1e-13 * max(1.0, np.abs(state.known).max()), k
            moved = max(moved, comm.sum(np.abs(state.residual)).max())
        return moved

    moved = spmd(3, main)[0]
    assert moved > 0.0
    assert steps != "auto" or len(built) > 10


def test_padding_and_columns_without_rows_stay_zero():
    def main(comm):
        target = posed(comm)
        rows = DenseRows(target.shard.rows.values * (np.arange(problems.WIDTH) != 2))
        shard = Shard(
            rows,
            *(
                getattr(target.shard, f)
                for f in ("label", "weight", "order", "start", "total", "features", "intercept")
            ),
        )
        target = Objective(target.loss, Penalty.make("none"), shard)
        for steps in ("auto", "none", "diagonal"):
            algorithm = Saga(preconditioner=steps)
            channel = Channel(comm, 3, Compressor.make("sketch"), downlink=True)
            state = algorithm.init(target, channel)
            for k in range(30):
                algorithm.step(k, state, target, channel)
            assert not state.w[:, 7:].any()
            assert not state.w[:, 2].any()
            assert np.isfinite(state.w).all()

    spmd(3, main)


@pytest.mark.parametrize("name", ["quantised", "natural", "rand-k", "sign", "participation"])
def test_steps_that_are_much_too_long_do_not_poison_the_memory(name):
    algorithm = Saga(preconditioner="none", step_size=1e3)

    def main(comm):
        with np.errstate(all="ignore"):
            channel = Channel(comm, 3, Compressor.make(name), downlink=True)
            return reached(comm, channel, algorithm, tol=1e-4, loss="poisson")

    for rounds, gap, _ in spmd(2, main):
        assert rounds is not None
        assert gap <= 1e-4


def test_a_preconditioned_step_by_hand_is_shortened_where_it_is_too_long():
    assert runs(2, "quantised", algorithm=Saga(step_size=50.0), tol=1e-6, rounds=600)[0] is not None
