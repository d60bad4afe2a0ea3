"""Cross-validation of a path: that of scikit-learn on the same folds, on any number of ranks."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import ElasticNetCV, LassoCV, LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import PredefinedSplit, TimeSeriesSplit

import mpiopt
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.inference.clusters import coded
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.training.cross_validation import without_fold
from mpiopt.training.folds import Folds, dealt_folds, grouped_folds, ordered_folds, times
from mpiopt.training.path import PathOptions
from tests.cases import problems

RNG = np.random.default_rng(4)
X = RNG.normal(size=(90, 12)) * np.exp(0.5 * RNG.normal(size=12))
Z = X[:, :4] @ [1.0, -0.5, 0.5, 0.3]
REAL, CLASS = Z + RNG.normal(size=90), np.where(Z + RNG.logistic(size=90) > 0, 1, 0)
FOLD = RNG.permutation(np.arange(90) % 5)
GRID = {"points": 8, "min_ratio": 2e-2}


def on_ranks(
    size,
    y,
    loss,
    *,
    weight=None,
    groups=None,
    time=None,
    repeats=1,
    folds=FOLD,
    tol=1e-12,
    score="deviance",
    **options,
):
    def main(comm):
        part = slice(len(y) * comm.rank // comm.size, len(y) * (comm.rank + 1) // comm.size)
        given = {"sample_weight": None if weight is None else weight[part], "score": score}
        given["folds"] = folds if np.ndim(folds) == 0 else folds[part]
        given |= {"time": time if time is None or isinstance(time, str) else time[part], "repeats": repeats}
        given["groups"] = groups[part] if np.ndim(groups) else groups
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
        (REAL, "squared", {"folds": 3, "repeats": 0}, "repeats must be at least 1, not 0"),
        (REAL, "squared", {"folds": 3, "repeats": 2, "time": "rows"}, "folds by time take no repeats"),
        (REAL, "squared", {"folds": 3, "groups": FOLD, "time": "rows"}, "folds by time take no groups"),
        (REAL, "squared", {"folds": 3, "time": np.zeros((90, 2))}, "time must have one entry for each row"),
        (REAL, "squared", {"folds": 3, "groups": np.array(3)}, "groups must have one entry for each row"),
        (REAL, "squared", {"folds": 3, "groups": "a"}, "groups must have one entry for each row"),
        (REAL, "squared", {"folds": np.arange(90) % 3 / 2}, "folds must be whole numbers from 0"),
        (REAL, "squared", {"folds": np.where(FOLD, 1.0, np.nan)}, "folds must be whole numbers from 0"),
        (REAL, "squared", {"folds": np.array(["a", "b", "c"] * 30)}, "folds must be whole numbers from 0"),
        (REAL, "squared", {"folds": 2.5}, "folds must be a whole number, not 2.5"),
        (REAL, "squared", {"folds": "5"}, "folds must be a whole number, not '5'"),
        (REAL, "squared", {"folds": 3, "repeats": 2.5}, "repeats must be a whole number, not 2.5"),
        (REAL, "squared", {"folds": 3, "time": "days"}, "time must be 'rows' or have one entry for each row"),
        (REAL, "squared", {"folds": 3, "time": np.where(FOLD, 1.0, np.nan)}, "a time is missing"),
        (REAL, "squared", {"folds": 3, "time": np.full(90, 2.0)}, "fold 0 holds out no row"),
        (REAL, "squared", {"folds": 3, "time": np.maximum(np.arange(90.0), 30)}, "fold 0 trains on no row"),
        (REAL, "squared", {"folds": 0, "repeats": 2}, "repeats are for cross-validation"),
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
        rest, w = (
            without_fold(objective, Folds(held[None], 1), 0, comm),
            np.full((1, objective.shard.rows.width), 0.1),
        )
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


@pytest.mark.parametrize("size", [1, 2, 3])
def test_folds_by_time_are_those_of_scikit_learn(size):
    moment = RNG.permutation(90) - 40.5
    sequence = np.argsort(moment)
    found = on_ranks(size, REAL, "squared", folds=4, time=moment)
    mine = found[0].cross_validation
    split = TimeSeriesSplit(4)
    options = {"alphas": mine.strengths, "cv": split, "tol": 1e-13, "max_iter": 100_000}
    theirs = LassoCV(**options).fit(X[sequence], REAL[sequence])
    np.testing.assert_allclose(mine.scores, theirs.mse_path_, rtol=1e-8)
    assert found[0].best.strength == theirs.alpha_
    assert mine.simplest <= mine.best
    fold, margins = joined(found, "fold"), joined(found, "margins")
    for number, (_, held) in enumerate(split.split(sequence)):
        assert sorted(np.flatnonzero(fold == number)) == sorted(sequence[held])
    assert np.isnan(margins[:, 0]).tolist() == (fold < 0).tolist()
    squares = (margins[:, 0] - REAL) ** 2
    np.testing.assert_allclose([squares[fold == k].mean() for k in range(4)], mine.scores[mine.best], rtol=1e-8)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_rows_of_one_time_are_tested_together_and_after_all_they_are_trained_on(size):
    rng = np.random.default_rng(2)
    for moment in (rng.integers(-3, 4, 61) * 1e300, rng.normal(size=61), -np.exp(9.0 * rng.normal(size=61))):
        parts = spmd(size, lambda comm, t=moment: ordered_folds(t[comm.rank :: comm.size], 3, comm))
        fold = np.empty(61, int)
        for rank, part in enumerate(parts):
            fold[rank::size] = part
        for k in range(3):
            before, held = moment[fold < k], moment[fold == k]
            assert before.max(initial=-np.inf) < held.min(initial=np.inf)
        if len(set(moment)) == 61:
            assert np.bincount(fold + 1).tolist() == [16, 15, 15, 15]


def test_times_are_numbers_or_dates():
    alone = single()
    dates = np.array(["2024-03-01", "2023-12-31T23:00:00+01:00", "2024-01-01 00:00:00"])
    assert np.argsort(times(dates, alone)).tolist() == [1, 2, 0]
    assert times(np.array(["2", "1e1"]), alone).tolist() == [2.0, 10.0]
    assert np.diff(times(np.array(["2024-03-01", "2024-03-02"], "datetime64[D]"), alone)).tolist() == [86400e6]
    for wrong in (np.array(["31.12.2023"]), np.array(["nan"]), np.array(["NaT"], "datetime64[D]")):
        with pytest.raises(ValueError, match=r"neither a number nor a date|is missing"):
            times(wrong, alone)


def test_ranks_read_times_alike():
    """Whole days look like numbers on the ranks that have no other dates."""
    dates = np.array(["20240301", "20240229", "2024-01-01", "2024-02-01"])
    alone, parts = times(dates, single()), spmd(2, lambda comm: times(dates[comm.rank * 2 :][:2], comm))
    assert np.concatenate(parts).tolist() == alone.tolist()
    assert spmd(3, lambda comm: times(dates[:2][comm.rank :][:1], comm))[0].tolist() == [20240301.0]
    kinds = (dates, np.arange(4.0), np.array(["2024-01-01"], "M8[D]"))
    with pytest.raises(ValueError, match="the times of the ranks are of different kinds"):
        spmd(3, lambda comm: times(kinds[comm.rank], comm))


@pytest.mark.parametrize("grouped", [False, True])
def test_repeats_are_cross_validations_of_their_own(grouped):
    groups = np.arange(90) // 4 if grouped else None
    found = on_ranks(2, REAL, "squared", folds=3, repeats=2, groups=groups, points=5)
    mine = found[0].cross_validation
    fold = np.concatenate([path.cross_validation.fold for path in found], axis=1)
    assert mine.scores.shape == (5, 6)
    assert (fold[0] != fold[1]).sum() > 30
    alone = [on_ranks(1, REAL, "squared", folds=one, points=5)[0].cross_validation for one in fold]
    for repeat, one in enumerate(alone):
        np.testing.assert_allclose(mine.scores[:, 3 * repeat : 3 * repeat + 3], one.scores, rtol=1e-8)
        assert grouped is False or all(len(set(fold[repeat][groups == g])) == 1 for g in set(groups))
    np.testing.assert_allclose(mine.mean, np.mean([one.scores.mean(axis=1) for one in alone], axis=0), rtol=1e-8)
    errors = [one.scores.std(axis=1, ddof=1) / np.sqrt(3) for one in alone]
    np.testing.assert_allclose(mine.error, np.sqrt(np.mean(np.square(errors), axis=0)), rtol=1e-8)
    if mine.best == alone[0].best == alone[1].best:
        margins = np.concatenate([path.cross_validation.margins for path in found])
        np.testing.assert_allclose(margins, (alone[0].margins + alone[1].margins) / 2, atol=1e-8)
    limit = mine.mean[mine.best] + mine.error[mine.best]
    assert mine.simplest == np.flatnonzero(mine.mean <= limit)[0]
