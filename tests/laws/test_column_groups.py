"""The group lasso: the gap is a bound for every loss, and optima are those of an independent proximal gradient."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import mpiopt
from mpiopt.algorithms.second_order.group_quadratic import GroupQuadraticModel
from mpiopt.algorithms.second_order.working_set import WorkingSet
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective.column_groups import ColumnGroups
from mpiopt.objective.dual_point import bound_from_below
from mpiopt.objective.duality_gap import gap_of_gradient, label_statistics
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.intercept import with_best_constants
from mpiopt.objective.losses.base import Loss
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt as command
from tests.cases.command import mpiopt_on
from tests.cases.problems import objective

RNG = np.random.default_rng(5)
GROUPS, EACH = 6, 3
NUMBER = np.repeat(np.arange(GROUPS), EACH)
X = RNG.normal(size=(120, GROUPS * EACH)) * np.exp(0.5 * RNG.normal(size=GROUPS * EACH)) + RNG.normal(size=18)
Z = (X - X.mean(axis=0)) @ (RNG.normal(size=18) * (NUMBER % 3 == 0)) / 3.0
Y = {
    "squared": Z + RNG.normal(size=120),
    "logistic": np.where(Z + RNG.logistic(size=120) > 0, 1.0, 0.0),
    "poisson": RNG.poisson(np.exp(0.5 * Z)).astype(float),
}
NAMES = [[f"x{j + 1}" for j in np.flatnonzero(g == NUMBER)] for g in range(GROUPS)]


def penalty(w, l1, l2):
    norms = np.linalg.norm(w.reshape(GROUPS, EACH), axis=1)
    return l1 * np.sqrt(EACH) * norms.sum() + 0.5 * l2 * w @ w


def least_value(loss, y, l1, l2):
    """Return the optimum by accelerated proximal gradient with restarts, without the package."""
    x = np.c_[X - X.mean(axis=0), np.ones(len(X))]

    def terms(m):
        if loss == "squared":
            return 0.5 * (m - y) ** 2, m - y
        if loss == "logistic":
            return np.logaddexp(0.0, m) - y * m, 1.0 / (1.0 + np.exp(-m)) - y
        return np.exp(m) - y * m, np.exp(m) - y

    bend = np.linalg.eigvalsh(x.T @ x / len(x))[-1] * {"squared": 1.0, "logistic": 0.25, "poisson": 8.0}[loss] + l2
    w = v = np.zeros(19)
    t = 1.0
    for _ in range(4_000):
        g = x.T @ terms(x @ v)[1] / len(x) + l2 * np.append(v[:-1], 0.0)
        moved = v - g / bend
        blocks = moved[:-1].reshape(GROUPS, EACH)
        norm = np.maximum(np.linalg.norm(blocks, axis=1, keepdims=True), 1e-300)
        new = np.append((blocks * np.maximum(1.0 - l1 * np.sqrt(EACH) / bend / norm, 0.0)).ravel(), moved[-1])
        if (v - new) @ (new - w) > 0.0:
            w, v, t = new, new, 1.0
            continue
        after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        w, v, t = new, new + (t - 1.0) / after * (new - w), after
    return terms(x @ w)[0].mean() + penalty(w[:-1], l1, l2)


def on_ranks(size, loss, **options):
    def main(comm):
        part = slice(comm.rank, None, comm.size)
        return mpiopt.fit(X[part], Y[loss][part], comm, loss=loss, **{"tol": 1e-11, "l1_groups": NAMES, **options})

    return spmd(size, main)[-1]


def test_the_gap_is_the_penalty_less_the_line_to_the_conjugate():
    groups = ColumnGroups.of(np.array([0, 1, 0, 1, 1]), np.array([1.0, 2.0, 0.5, 1.0, 1.0, 0.0]))
    for _ in range(40):
        w, v = (np.append(RNG.normal(size=5), 0.0)[None] for _ in range(2))
        w *= groups.whole(RNG.random((1, 6)) < 0.3)
        l1, l2 = 0.4, 0.7

        def less(u, v=v, l1=l1, l2=l2):
            w = np.append(u, 0.0)[None]
            return l1 * groups.value(w) + 0.5 * l2 * ((u * groups.rate[:5]) ** 2).sum() - (v * w).sum()

        best = min(minimize(less, start, tol=1e-12).fun for start in (np.full(5, 0.1), v[0, :5], -v[0, :5]))
        assert groups.gap(w, v, l1, l2) == pytest.approx(less(w[0, :5]) - min(best, 0.0), abs=1e-6)
        alpha = groups.scaling(v, l1)
        assert groups.gap(w, alpha * v, l1, 0.0) >= 0.0
        assert groups.largest(alpha * v) <= l1
        p = 1e-9 * RNG.normal(size=(1, 6))
        assert groups.change(w, p) == pytest.approx(groups.value(w + p) - groups.value(w), abs=1e-15)


def test_the_quadratic_model_is_minimised_whatever_the_scales():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a = rng.normal(size=(12, 9)) * np.exp(rng.normal(size=9))
        h, g, w = a.T @ a / 12 + 1e-9 * np.eye(9), rng.normal(size=9), rng.normal(size=9) * (rng.random() < 0.5)
        groups = ColumnGroups.of(np.array([2, 0, 0, 1, 1, 2, 2, 0]), np.append(np.exp(rng.normal(size=8)), 0.0))
        p = GroupQuadraticModel(h, groups, 0.3).approach(g, w, 1e-9)
        before = np.abs(groups.least_subgradient(w[None], g[None], 0.3)).max()
        left = np.abs(groups.least_subgradient((w + p)[None], (g + h @ p)[None], 0.3)).max()
        assert left <= 1e-7 * before


@pytest.mark.parametrize(("l1", "l2"), [(0.03, 0.05), (0.03, 0.0)])
@pytest.mark.parametrize("loss", sorted(set(Loss.known()) - {"softmax"}))
def test_the_gap_bounds_the_distance_and_vanishes_at_the_optimum(loss, l1, l2):
    def main(comm):
        target, channel = objective(loss, l1, l2, "dense", comm), Channel(comm, seed=3)
        groups = ColumnGroups.of(np.arange(target.shard.features) // 2, target.rate)
        target = with_best_constants(replace(target, groups=groups), channel)
        labels, state = label_statistics(target, channel), WorkingSet().init(target, channel)
        for k in range(12):
            if not WorkingSet().step(k, state, target, channel).step_size:
                break
        best = evaluate_exact(target, state.w, channel)
        scale = best.value - labels.floor
        assert 0.0 <= gap_of_gradient(target, state.w, best, labels) < 1e-6 * scale
        assert best.value - bound_from_below(target, state.w, labels, channel).lower < 1e-8 * scale
        rng = np.random.default_rng(0)
        for size in (1e-6, 1e-3, 0.1, 1.0):
            w = state.w + size * rng.normal(size=state.w.shape)
            w = w * (np.arange(target.width) < target.shard.features + target.shard.intercept)
            exact = evaluate_exact(target, w, channel)
            assert exact.value >= best.value - 1e-12
            assert gap_of_gradient(target, w, exact, labels) >= exact.value - best.value - 1e-12
            assert bound_from_below(target, w, labels, channel).lower <= best.value + 1e-13
        return best.value

    found = [spmd(size, main)[0] for size in (1, 3)]
    np.testing.assert_allclose(found, found[0], rtol=1e-9)


@pytest.mark.parametrize(("l1", "l2"), [(0.05, 0.0), (0.05, 0.03)])
@pytest.mark.parametrize("loss", Y)
def test_the_optimum_is_that_of_an_independent_route(loss, l1, l2):
    least = least_value(loss, Y[loss], l1, l2)
    for size, more in ((1, {}), (2, {"coordinates": "file"}), (5, {})):
        fit = on_ranks(size, loss, l1=l1, l2=l2, **more)
        assert fit.certified
        assert fit.objective == pytest.approx(least, rel=1e-10)
        inside = (fit.coef[0] != 0.0).reshape(GROUPS, EACH)
        assert (inside.all(axis=1) | ~inside.any(axis=1)).all()
        assert 0 < inside.any(axis=1).sum() < GROUPS


def test_groups_of_one_column_are_the_lasso():
    alone = ",".join(f"x{j + 1}" for j in range(18))
    fit, lasso = (on_ranks(2, "logistic", l1=0.03, l2=0.01, l1_groups=text) for text in (alone, None))
    assert fit.objective == pytest.approx(lasso.objective, rel=1e-10)
    np.testing.assert_allclose(fit.coef, lasso.coef, atol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_a_path_begins_where_all_groups_are_0(size):
    def main(comm):
        part = slice(comm.rank, None, comm.size)
        options = mpiopt.PathOptions(points=6, min_ratio=0.05)
        given = {"loss": "poisson", "l1_groups": NAMES, "options": options, "tol": 1e-9, "folds": 3}
        return mpiopt.path(X[part], Y["poisson"][part], comm, **given)

    found = spmd(size, main)[0]
    assert found.certified
    assert found.points[0].nonzeros == 0 < found.points[1].nonzeros
    assert all(point.nonzeros % EACH == 0 for point in found.points)
    one = found.points[3]
    assert one.objective == pytest.approx(on_ranks(1, "poisson", l1=one.l1, l2=0.0).objective, rel=1e-8)


def test_levels_of_a_column_of_a_table_go_in_or_out_as_a_whole(here, capsys):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"city": rng.choice(list("abcd"), 300), "zone": rng.choice(list("uvw"), 300)})
    frame = frame.assign(age=rng.normal(size=300), y=(frame["city"] == "a") * 2.0 + rng.normal(size=300))
    frame.to_csv(here / "t.csv", index=False)
    words = ["--target", "y", "--loss", "squared", "--intercept", "--l1-groups", "columns", "--tol", "1e-10"]
    found = []
    for size in (1, 2):
        more = ["--l1", "0.08", "--l2", "0", "--out", "t.h5", "--overwrite"]
        assert mpiopt_on(size, "train", "t.csv", *words, *more) == {0}
        found.append(read_result("t.h5").model)
    assert "l1 on the norms of 3 groups of 8 coefficients" in capsys.readouterr().out
    np.testing.assert_allclose(found[0].coef, found[1].coef, atol=1e-6)
    shown = dict(zip(found[0].feature_names, found[0].coef[0] != 0.0, strict=True))
    assert all(shown[f"city[{level}]"] for level in "abcd")
    assert not any(shown[f"zone[{level}]"] for level in "uvw")
    fit = mpiopt.fit(frame.drop(columns="y"), frame["y"], loss="squared", l1=0.08, l2=0.0, l1_groups="columns")
    np.testing.assert_allclose(fit.coef, found[0].coef, atol=1e-3)
    assert command("path", "t.csv", *words, "--points", "5", "--out", "p.h5") == 0
    assert read_result("p.h5").provenance["penalty"].startswith("group-lasso[l1=")
    capsys.readouterr()
    for more, message in (
        (["train", "--l1", "0"], "--l1-groups needs an l1 above 0"),
        (["train", "--l1", "1", "--algorithm", "saga"], "saga takes no --l1-groups; use --algorithm working-set"),
        (["train", "--l1", "1", "--compress", "natural"], "--l1-groups takes no compressed exchanges"),
        (["train", "--l1", "1", "--nonnegative"], "bounds on coefficients take no --l1-groups"),
        (["train", "--l1", "1", "--l1-groups", "town[*]+age"], "no column is called 'town[*]'"),
        (["train", "--l1", "1", "--l1-groups", "city[*]+age,age"], "column age is in two groups"),
        (["train", "--l1", "1", "--drop", "city,zone"], "no column of the table has several features"),
        (["path", "--summary", "s.txt", "--out", "q.csv"], "a summary takes no --l1-groups"),
    ):
        assert command(more[0], "t.csv", *words, *more[1:], *(["--overwrite"] if more[0] == "train" else [])) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    assert command("summary", "t.h5") == 2
    assert "a summary takes no l1_groups" in capsys.readouterr().err
