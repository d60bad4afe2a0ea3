"""The history of L-BFGS: the two loops equal the BFGS matrix, and the window keeps the newest pairs in order."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from mpiopt.algorithms.second_order import lbfgs
from mpiopt.algorithms.second_order.lbfgs import Lbfgs, PairWindow
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.partition import block
from mpiopt.core.state import layouts, pack, unpack
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective.gradient_trail import two_loop
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.training.fit import fit


def bfgs(steps, changes, initial):
    """Return the inverse BFGS matrix, by its definition (Nocedal, Wright 2006, formula 6.17)."""
    h = initial
    for s, y in zip(steps, changes, strict=True):
        turn = np.eye(len(s)) - np.outer(y, s) / (s @ y)
        h = turn.T @ h @ turn + np.outer(s, s) / (s @ y)
    return h


@pytest.mark.parametrize("pairs", [0, 1, 7])
@pytest.mark.parametrize("rescaled", [False, True])
def test_two_loops_equal_the_bfgs_matrix(pairs, rescaled):
    rng = np.random.default_rng(pairs)
    steps, g, inverse = rng.standard_normal((pairs, 24)), rng.standard_normal((2, 12)), 0.5 + rng.random(12)
    changes = steps * (0.1 + rng.random(24))
    h = np.diag(np.tile(inverse, 2))
    if rescaled and pairs:
        h *= (steps[-1] @ changes[-1]) / (changes[-1] @ h @ changes[-1])
    found = two_loop(steps, changes, g, lambda x: inverse * x, rescaled)
    np.testing.assert_allclose(found.reshape(-1), bfgs(steps, changes, h) @ g.reshape(-1), rtol=1e-10)


def test_the_window_keeps_the_newest_pairs_in_order():
    kept, memory = 0, 3
    window = PairWindow(np.zeros((2, memory + PairWindow.SPARE, 1, 1)), memory)
    for k in range(3 * PairWindow.SPARE):
        in_use = min(kept, memory - 1)
        steps, changes = window.moved(in_use)
        steps[-1], changes[-1] = k, -k
        kept = in_use + 1
        assert steps[memory - kept :, 0, 0].tolist() == list(range(k + 1 - kept, k + 1))
        assert np.array_equal(changes[memory - kept :], -steps[memory - kept :])


def test_a_run_with_many_steps_keeps_its_history_in_the_state():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 8)) * np.logspace(0, -3, 8), rng.choice([-1.0, 1.0], 60)
    shard = Shard(DenseRows(x), y, np.ones(60), np.arange(60), 0, 60, 8)
    objective = Objective(Loss.make("logistic"), Penalty.make("ridge", {"l2": 1e-6}), shard)
    algorithm, channel = Lbfgs(memory=3, sampled=False), Channel(single())
    state = algorithm.init(objective, channel)
    for k in range(2 * PairWindow.SPARE):
        before = state.w.copy()
        info = algorithm.step(k, state, objective, channel)
        if info.step_size and state.pairs[0]:
            np.testing.assert_allclose(state.steps[-1], state.w - before, rtol=0, atol=1e-15)
    assert state.steps.shape == state.changes.shape == (3, 1, 8)
    assert "window" not in layouts(state)


def test_a_sample_that_is_not_out_of_date_stays_with_its_pairs():
    """Where the same sample was taken again after each slow step, the pairs were lost: 21 epochs."""
    rng, n, d = np.random.default_rng(3), 40000, 200
    x = np.where(rng.random((n, d)) < 0.02, rng.standard_normal((n, d)), 0.0)
    y = np.where(rng.random(n) < 1.0 / (1.0 + np.exp(-3.0 * (x @ rng.standard_normal(d)))), 1.0, -1.0)
    found = fit(x, y, l2=1 / n, intercept=False, algorithm="lbfgs", tol=1e-9)
    assert found.certified
    assert found.history[-1].epoch <= 19.0


def wide_rows(comm):
    """Return this rank's part of made-up text: 2400 columns, popular ones first, rows that are classified well."""
    rng = np.random.default_rng(1)
    columns = np.minimum((rng.pareto(0.6, (600, 30)) * 3).astype(np.int64), 2399)
    values = sparse.csr_matrix(
        (np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, 30)), (600, 2400)
    )
    y = np.where(values @ rng.standard_normal(2400) > 0.0, 1.0, -1.0)
    first, last = block(600, comm.size, comm.rank)
    return values[first:last], y[first:last]


def test_renewed_columns_save_rounds_where_there_are_many(monkeypatch):
    def rounds():
        fitted = spmd(2, lambda c: fit(*wide_rows(c), c, l2=1 / 600, algorithm="lbfgs", tol=1e-6))[0]
        assert fitted.certified
        return fitted.history[-1].round

    with_renewals = rounds()
    monkeypatch.setattr(lbfgs, "TUNING", replace(lbfgs.TUNING, first_renewal=np.inf))
    assert with_renewals <= 0.7 * rounds()


def test_a_run_goes_on_with_the_same_bits_after_columns_were_renewed():
    x, y = wide_rows(single())
    rows = CsrRows(x.indptr.astype(np.int64), x.indices.astype(np.int32), x.data, 2400)
    objective = Objective(
        Loss.make("logistic"),
        Penalty.make("ridge", {"l2": 1e-3}),
        Shard(rows, y, np.ones(600), np.arange(600), 0, 600, 2400),
    )
    algorithm, channel = Lbfgs(), Channel(single())
    state, other = algorithm.init(objective, channel), algorithm.blank(objective, 1)
    for k in range(4):
        algorithm.step(k, state, objective, channel)
    assert state.control.renewals == 1.0
    unpack(other, pack(state))
    algorithm.rebuild(other, objective, channel)
    for one in (state, other):
        algorithm.step(4, one, objective, channel)
    assert pack(state).tobytes() == pack(other).tobytes()


@pytest.mark.parametrize("size", [1, 3])
def test_a_column_that_the_sample_lacks_costs_no_trials(size):
    """Nonzero in one row of 100, it is constant in a sample, and only the ridge would bound its weight."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6000, 5))
    x[:, 4] *= 400.0 * (rng.random(6000) < 0.01)
    y = rng.random(6000) < 1 / (1 + np.exp(-(x @ [1.0, -0.5, 0.3, 0.0, 0.002] - 1.0)))

    def main(comm):
        mine = slice(comm.rank * 6000 // size, (comm.rank + 1) * 6000 // size)
        return fit(x[mine], y[mine], comm, algorithm="lbfgs")

    found = spmd(size, main)[0]
    assert found.certified
    assert found.history[-1].epoch < 20.0
