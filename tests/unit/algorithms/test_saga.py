"""Distributed SAGA: its options, its preconditioner, its start, and what it does when a step is too long."""

import doctest
from dataclasses import replace

import numpy as np
import pytest

from mpiopt.algorithms import preconditioner, warm_start
from mpiopt.algorithms.saga import extrapolation, saga
from mpiopt.algorithms.saga.extrapolation import extrapolated
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.core.partition import block
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from tests.cases.certified import relative_gap
from tests.cases.problems import objective


def made(comm, loss="logistic", rows=600, columns=5, by_label=False, l1=0.0, scale=None):
    """Return a rank's objective of a seeded problem, ill-conditioned by `scale`, sorted by label on request."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, 8))
    x[:, columns:] = 0.0
    x *= np.ones(8) if scale is None else np.geomspace(1.0, scale, 8)
    z = x @ np.where(np.arange(8) < columns, 1.0 / np.maximum(np.abs(x).mean(axis=0), 1e-9), 0.0)
    y = (
        np.where(rng.random(rows) < 1 / (1 + np.exp(-z)), 1.0, -1.0)
        if loss == "logistic"
        else z + rng.normal(size=rows)
    )
    order = np.argsort(y, kind="stable") if by_label else np.arange(rows)
    lo, hi = block(rows, comm.size, comm.rank)
    mine = order[lo:hi][np.random.default_rng(comm.rank).permutation(hi - lo)]
    shard = Shard(DenseRows(x[mine]), y[mine], np.ones(len(mine)), np.arange(len(mine)), lo, rows, columns)
    penalty = Penalty.make("elastic-net", {"l1": l1, "l2": 1.0 / rows})
    return Objective(Loss.make(loss), penalty, shard)


def reached(comm, algorithm, rounds=400, tol=1e-10, **problem):
    """Run to a certificate of `tol`; return rounds, epochs and the certificates on the way."""
    target, channel = made(comm, **problem), Channel(comm, seed=1)
    start = evaluate_exact(target, target.zeros(), channel)
    state, epochs, found = algorithm.init(target, channel), 0.0, []
    for k in range(rounds):
        epochs += algorithm.step(k, state, target, channel).epochs
        found.append(relative_gap(target, state.w, evaluate_exact(target, state.w, channel), start))
        if found[-1] <= tol:
            return k + 1, epochs, found
    return None, epochs, found


OPTIONS = [
    {},
    {"preconditioner": "none"},
    {"preconditioner": "diagonal"},
    {"preconditioner": "none", "variant": "A"},
    {"preconditioner": "none", "variant": "C"},
    {"preconditioner": "none", "variant": "D"},
    {"preconditioner": "none", "sampling": "uniform"},
    {"preconditioner": "none", "local_steps": 40},
    {"exchange": "overlap"},
    {"preconditioner": "none", "exchange": "overlap"},
    {"exchange": "timed"},
    {"exchange": "async"},
    {"preconditioner": "diagonal", "exchange": "async"},
    {"warm_start": False},
    {"preconditioner": "none", "extrapolate": 4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("by_label", [False, True])
def test_every_option_certifies_the_optimum(options, by_label):
    for size in (1, 3):
        for rounds, *_ in spmd(size, lambda c: reached(c, Saga(**options), by_label=by_label)):
            assert rounds is not None, size


def test_without_correction_it_stalls():
    control = Saga(preconditioner="none", variant="E", refresh=0.0)
    rounds, _, found = spmd(3, lambda c: reached(c, control, rounds=300, by_label=True))[0]
    assert rounds is None
    assert min(found) > 1e-6


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_label_sorted_ranks_need_the_epochs_of_one_on_ill_conditioned_data(scale):
    problem = {"rows": 4000, "scale": scale, "tol": 1e-6}
    rounds_of_one, one, _ = spmd(1, lambda c: reached(c, Saga(), **problem))[0]
    rounds, four, _ = spmd(4, lambda c: reached(c, Saga(), by_label=True, **problem))[0]
    assert four <= 1.5 * one
    assert max(rounds, rounds_of_one) <= 15


def test_a_step_that_is_much_too_long_is_shortened_and_no_nan_comes_out():
    for options in ({"preconditioner": "none", "step_size": 1e3}, {"step_size": 50.0}):
        rounds, _, found = spmd(2, lambda c, o=options: reached(c, Saga(**o), rounds=600, tol=1e-6))[0]
        assert rounds is not None
        assert np.isfinite(found).all()


def inverse_of(p):
    root = preconditioner.root_of(p)
    np.testing.assert_allclose(root.lower @ root.lower.T, p, rtol=1e-9, atol=1e-9 * p.max())
    return root.inverse.T @ root.inverse


def test_the_preconditioner_does_not_depend_on_the_units_of_the_columns():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(20, 6))
    units = np.geomspace(1e-6, 1e6, 6)
    plain, scaled = inverse_of(a.T @ a), inverse_of((a * units).T @ (a * units))
    np.testing.assert_allclose(scaled * units * units[:, None], plain, rtol=1e-6)


def test_a_singular_preconditioner_is_damped_and_an_empty_column_never_moves():
    x = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    inverse = inverse_of(x.T @ x)
    assert np.isfinite(inverse).all()
    assert not inverse[2].any()
    assert (np.linalg.eigvalsh(inverse) >= 0.0).all()


def test_each_ranks_model_of_the_others_is_convex_and_the_inverses_are_equal():
    def main(comm):
        target = made(comm, by_label=True)
        found = preconditioner.build(target, target.zeros(), Channel(comm), 0.25, 0.0)
        ridge = np.diag(target.ridge)
        return found.inverse.tobytes(), np.linalg.eigvalsh(found.others + ridge).min(), found.share

    seen = spmd(3, main)
    assert len({inverse for inverse, *_ in seen}) == 1
    assert all(lowest >= -1e-12 and 0.0 < share <= 0.25 for _, lowest, share in seen)


def test_a_part_of_the_rows_is_a_good_start_and_costs_little():
    def main(comm):
        target, channel = made(comm, rows=8000), Channel(comm, seed=1)
        start = warm_start.find(Saga(), target, channel)
        best = reached(comm, Saga(), rows=8000)
        at_start, at_zero = (evaluate_exact(target, w, channel).value for w in (start.w, target.zeros()))
        return start.epochs, at_start, at_zero, start.believed, best[0]

    for epochs, at_start, at_zero, believed, rounds in spmd(2, main):
        assert 0.0 < epochs < 4.0
        assert at_start < believed
        assert at_start < 0.9 * at_zero
        assert rounds is not None


def test_few_rows_give_no_start():
    start = spmd(2, lambda c: warm_start.find(Saga(), made(c, rows=100), Channel(c)))[0]
    assert (start.epochs, start.w.any()) == (0.0, False)


def test_the_full_preconditioner_refuses_l1():
    with pytest.raises(ValueError, match="needs a smooth penalty"):
        spmd(1, lambda c: Saga(preconditioner="full").init(made(c, l1=0.1), Channel(c)))


def test_the_examples_run():
    for module in (saga, extrapolation):
        assert doctest.testmod(module).failed == 0


def test_extrapolation_of_a_linear_sequence_finds_its_limit():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    limit = rng.normal(size=6)
    step = basis @ np.diag([0.9, 0.8, 0.5, 0.0, 0.0, 0.0]) @ basis.T
    points = [rng.normal(size=6)]
    for _ in range(5):
        points.append(limit + step @ (points[-1] - limit))
    found = extrapolated(np.array(points)[:, None, :], 1e-14)[0]
    assert np.linalg.norm(found - limit) < 1e-4 * np.linalg.norm(points[-1] - limit)


GREW, FELL = {"decrement": 1e-300, "lengthened": 1.0}, {"lengthened": 0.0}
LONG = {"stretch": 16.0}


@pytest.mark.parametrize(
    ("compressor", "options", "control", "cuts", "factor"),
    [
        ("quantised", {}, GREW, 0, 0.5),
        ("none", {}, GREW, 0, 1.0),
        ("quantised", {"local_steps": 40}, GREW, 0, 1.0),
        ("none", LONG, FELL, 3, 0.5),
        ("none", LONG, {"lengthened": 2.0}, 1, 0.5),
        ("none", LONG, FELL, 0, 1.0),
        ("none", {}, FELL, 3, 1.0),
        ("none", {}, {"lengthened": 2.0}, 1, 1.0),
        ("none", {}, FELL, 1, 0.5),
    ],
    ids=[
        "a trial failed, compressed", "a trial failed, exact", "length by hand", "long, all given up",
        "long, a trial", "long, F fell", "short, all given up", "short, a trial", "short, a part was good",
    ],
)  # fmt: skip
def test_rounds_become_shorter_where_their_length_is_the_cause(compressor, options, control, cuts, factor):
    def main(comm):
        target, channel = made(comm, l1=0.01), Channel(comm, compressor=Compressor.make(compressor, {}))
        state = Saga(preconditioner="none", warm_start=False, **options).init(target, channel)
        before = state.control.round_epochs
        for name, value in control.items():
            setattr(state.control, name, value)
        state.steps.adapt(state, evaluate_exact(target, state.w, channel), cuts, target, channel)
        return state.control.round_epochs / before

    assert spmd(2, main) == [factor, factor]


def test_a_preconditioner_is_not_made_again_where_it_was_just_made():
    def main(comm):
        target, channel = objective("logistic", 0.0, 0.01, "dense", comm), Channel(comm)
        state = Saga(preconditioner="full", warm_start=False).init(target, channel)
        found = []
        for away in (0.0, 0.1):
            state.w[...] = state.anchor + away
            was, exact = state.steps.preconditioner, evaluate_exact(target, state.w, channel)
            spent = state.steps.adapt(state, exact, 3, target, channel)
            found.append((spent, state.steps.preconditioner is was, state.control.scale))
        return found

    assert spmd(2, main)[0] == [(0.0, True, 1 / 4), (1.0, False, 1 / 16)]


@pytest.mark.parametrize("preconditioner", ["none", "full"])
def test_a_gradient_that_is_exactly_zero_upsets_nothing(preconditioner):
    def main(comm):
        target = objective("squared", 0.0, 0.1, "dense", comm)
        still = replace(target, shard=replace(target.shard, label=np.zeros_like(target.shard.label)))
        channel = Channel(comm)
        algorithm = Saga(preconditioner=preconditioner)
        state = algorithm.init(still, channel)
        found = [algorithm.step(k, state, still, channel).exact for k in range(18)]
        return [exact.value for exact in found if exact is not None]

    for values in spmd(2, main):
        assert len(values) > 1
        assert not any(values)


def test_a_chord_step_ends_at_the_optimum_of_least_squares_on_any_ranks():
    for size in (1, 2, 5):
        rounds, epochs, gaps = spmd(size, lambda comm: reached(comm, Saga(), loss="squared", by_label=True))[0]
        assert rounds == 3  # two rounds of local steps, then one step by the exact gradient
        assert gaps[-2] > 1e-10 >= gaps[-1]
        assert epochs <= 8.0


def test_chord_steps_end_where_they_gain_less_than_local_steps(monkeypatch):
    """With a preconditioner that is far too small, steps fail or gain little, and local steps go on."""
    visits = []

    def main(comm):
        target, channel, algorithm = made(comm), Channel(comm), Saga(warm_start=False)
        state = algorithm.init(target, channel)
        monkeypatch.setattr(type(state.steps.preconditioner), "solve", lambda self, g: 0.05 * g @ self.inverse)
        for k in range(6):
            before = state.work.visited
            algorithm.step(k, state, target, channel)
            visits.append(state.work.visited > before)

    spmd(1, main)
    assert visits[:3] == [True, True, False]  # a period of local steps, and a chord step
    assert True in visits[3:]


@pytest.mark.parametrize("exchange", ["sync", "overlap", "timed"])
def test_only_exchanges_at_which_all_ranks_wait_have_chord_steps(exchange):
    def main(comm):
        target, channel, algorithm = made(comm), Channel(comm), Saga(exchange=exchange)
        state = algorithm.init(target, channel)
        return any(algorithm.step(k, state, target, channel) and state.control.chord for k in range(8))

    assert spmd(2, main)[0] == (exchange != "timed")
