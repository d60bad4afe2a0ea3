"""Cross-validation of a path: that of scikit-learn on the same folds, on any number of ranks."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import ElasticNetCV, LassoCV, LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import PredefinedSplit

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.inference.clusters import coded
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.training.cross_validation import without_fold
from mpiopt.training.folds import dealt_folds, grouped_folds
from mpiopt.training.path import PathOptions
from tests.cases import problems

RNG = np.random.default_rng(4)
X = RNG.normal(size=(90, 12)) * np.exp(0.5 * RNG.normal(size=12))
Z = X[:, :4] @ [1.0, -0.5, 0.5, 0.3]
REAL, CLASS = Z + RNG.normal(size=90), np.where(Z + RNG.logistic(size=90) > 0, 1, 0)
FOLD = RNG.permutation(np.arange(90) % 5)
GRID = {"points": 8, "min_ratio": 2e-2}


def on_ranks(size, y, loss, *, weight=None, groups=None, folds=FOLD, tol=1e-12, score="deviance", **options):
    def main(comm):
        part = slice(len(y) * comm.rank // comm.size, len(y) * (comm.rank + 1) // comm.size)
        given = {"sample_weight": None if weight is None else weight[part], "score": score}
        given["folds"] = folds if np.ndim(folds) == 0 else folds[part]
        given["groups"] = None if groups is None else groups[part]
        grid = PathOptions(**{**GRID, **options})
        return mpiopt.path(X[part], y[part], comm, loss=loss, tol=tol, options=grid, **given)

    return spmd(size, main)


def joined(found, name):
    return np.concatenate([getattr(path.cross_validation, name) for path in found])


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_squared_errors_are_those_of_scikit_learn(size, ratio):
    found = on_ranks(size, REAL, "squared", l1_ratio=ratio)
    mine = found[-1].cross_validation
    options = {"alphas": mine.strengths, "cv": PredefinedSplit(FOLD), "tol": 1e-13, "max_iter": 100_000}
    theirs = ElasticNetCV(l1_ratio=ratio, **options).fit(X, REAL)
    np.testing.assert_allclose(mine.scores, theirs.mse_path_, rtol=1e-8)
    assert found[-1].best.strength == theirs.alpha_
    np.testing.assert_allclose(found[-1].best.model.coef[0], theirs.coef_, atol=1e-6)
    assert found[-1].certified
    error = theirs.mse_path_.std(axis=1, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(mine.error, error, rtol=1e-8)
    mean = theirs.mse_path_.mean(axis=1)
    assert mine.simplest == np.flatnonzero(mean <= mean.min() + error[mean.argmin()])[0]
    assert joined(found, "fold").tolist() == FOLD.tolist()
    squares = (joined(found, "margins")[:, 0] - REAL) ** 2
    means = [squares[k == FOLD].mean() for k in range(5)]
    np.testing.assert_allclose(means, mine.scores[mine.best], rtol=1e-8)
    np.testing.assert_allclose(mine.quality["RMSE"], np.sqrt(means), rtol=1e-8)


def test_weighted_squared_errors_are_those_of_scikit_learn():
    weight = RNG.integers(1, 4, 90).astype(float)
    mine = on_ranks(2, REAL, "squared", weight=weight)[0].cross_validation
    options = {"alphas": mine.strengths, "cv": PredefinedSplit(FOLD), "tol": 1e-13, "max_iter": 100_000}
    theirs = LassoCV(**options).fit(X, REAL, sample_weight=weight)
    np.testing.assert_allclose(mine.scores, theirs.mse_path_, rtol=1e-8)
    assert mine.strengths[mine.best] == theirs.alpha_


def test_log_losses_and_areas_are_those_of_scikit_learn():
    for score in ("log loss", "AUC"):
        mine = on_ranks(2, CLASS, "logistic", score=score)[0].cross_validation
        for point, k in ((1, 0), (5, 3)) if score == "log loss" else ((1, 3),):
            kept = k != FOLD
            c = 1.0 / (mine.strengths[point] * kept.sum())
            solver = LogisticRegression(C=c, l1_ratio=1.0, solver="saga", tol=1e-9, max_iter=100_000)
            chance = solver.fit(X[kept], CLASS[kept]).predict_proba(X[~kept])[:, 1]
            wanted = (log_loss if score == "log loss" else roc_auc_score)(CLASS[~kept], chance)
            assert mine.scores[point, k] == pytest.approx(wanted, rel=1e-6)
        best = mine.mean.argmin() if score == "log loss" else mine.mean.argmax()
        assert mine.best == best


@pytest.mark.parametrize("loss", ["softmax", "poisson"])
def test_other_losses_choose_a_strength(loss):
    y = RNG.integers(0, 3, 90) if loss == "softmax" else RNG.poisson(np.exp(0.3 * Z))
    one, two = (on_ranks(size, y, loss, folds=3, tol=1e-8, points=4)[0] for size in (1, 2))
    assert one.certified
    assert two.certified
    np.testing.assert_allclose(one.cross_validation.scores, two.cross_validation.scores, rtol=1e-4)
    assert one.cross_validation.margins.shape == (90, 3 if loss == "softmax" else 1)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_folds_have_their_share_of_each_class_on_any_number_of_ranks(size):
    strata = np.sort(RNG.integers(0, 3, 101))

    def main(comm, ranks):
        part = slice(101 * comm.rank // ranks, 101 * (comm.rank + 1) // ranks)
        order = np.random.default_rng(comm.rank).permutation(part.stop - part.start)
        found = dealt_folds(order, strata[part][order], 4, 7, comm)
        return found[np.argsort(order)]

    folds = np.concatenate(spmd(size, lambda comm: main(comm, size)))
    assert folds.tolist() == spmd(1, lambda comm: main(comm, 1))[0].tolist()
    for stratum in range(3):
        counts = np.bincount(folds[strata == stratum], minlength=4)
        assert np.ptp(counts) <= 1
    assert len({tuple(folds[i : i + 4]) for i in range(0, 96, 4)}) > 4  # they are not dealt in turn


@pytest.mark.parametrize("size", [1, 3])
def test_groups_stay_together(size):
    groups = np.array([f"g{v}" for v in RNG.integers(0, 11, 90)])

    def main(comm):
        return grouped_folds(coded(groups[comm.rank :: comm.size], comm), 4, comm)

    found = np.empty(90, int)
    for rank, part in enumerate(spmd(size, main)):
        found[rank::size] = part
    assert all(len(set(found[groups == g])) == 1 for g in set(groups))
    assert np.bincount(found).min() >= 10
    path = on_ranks(2, REAL, "squared", folds=4, groups=groups, tol=1e-6, points=3)
    fold = joined(path, "fold")
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))


def test_folds_that_cannot_be_are_refused():
    few = CLASS * (np.arange(90) == np.flatnonzero(CLASS)[0])
    for y, loss, given, message in (
        (REAL, "squared", {"folds": 1}, "folds must be at least 2 and at most the 90 rows, not 1"),
        (REAL, "squared", {"folds": 3, "groups": np.arange(90) % 2}, "2 groups of rows, fewer than the 3 folds"),
        (REAL, "squared", {"folds": np.full(90, -1)}, "there must be at least 2 folds"),
        (REAL, "squared", {"folds": np.where(FOLD == 2, 1, FOLD)}, "fold 2 holds out no row"),
        (REAL, "squared", {"folds": 3, "score": "AUC"}, "the score must be deviance, RMSE, MAE, R²"),
        (few, "logistic", {"folds": 3, "tol": 1e-3}, "leaves no row of a class"),
    ):
        with pytest.raises(ValueError, match=message):
            on_ranks(2, y, loss, **{"folds": FOLD, **given})


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_an_infinite_loss_of_a_held_out_row_does_not_spoil_its_fold(form):
    def main(comm):
        objective = problems.objective("poisson", 0.0, 1e-3, form, comm)
        shard, rows = objective.shard, objective.shard.rows
        held = np.zeros(len(shard.label), np.int64) - 1
        if comm.rank == 0:
            held[0] = 0
            values = rows.values.copy()
            values[0 if form == "dense" else slice(0, rows.indptr[1])] = 1e6  # exp of its margin is infinite
            rows = replace(rows, values=values)
        objective = replace(objective, shard=replace(shard, rows=rows))
        rest, w = without_fold(objective, held, 0, comm), np.full((1, objective.shard.rows.width), 0.1)
        assert comm.sum(np.array([len(rest.shard.label)]))[0] == problems.TOTAL - 1
        assert comm.sum(np.array([rest.shard.weight.sum()]))[0] == pytest.approx(problems.TOTAL)
        with np.errstate(over="ignore"):
            return [evaluate_exact(one, w, Channel(comm)).value for one in (objective, rest)]

    for size in (1, 2, 3, 5):
        for whole, rest in spmd(size, main):
            assert not np.isfinite(whole)
            assert np.isfinite(rest)


def test_groups_without_a_number_of_folds_are_refused():
    with pytest.raises(ValueError, match="groups are for cross-validation: give the number of folds, too"):
        on_ranks(1, REAL, "squared", groups=FOLD, folds=0)
    with pytest.raises(ValueError, match="groups have no effect; give the number of folds"):
        on_ranks(1, REAL, "squared", groups=FOLD)
