"""Bounds on coefficients: the gap is a bound for every loss, and optima are those of SciPy's solvers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import lsq_linear, minimize, minimize_scalar, nnls
from sklearn.linear_model import lasso_path

import mpiopt
from mpiopt.algorithms.second_order.working_set import WorkingSet
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective.bounds import Bounds
from mpiopt.objective.dual_point import bound_from_below
from mpiopt.objective.duality_gap import gap_of_gradient, label_statistics
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.intercept import with_best_constants
from mpiopt.objective.losses.base import Loss
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt as command
from tests.cases.command import mpiopt_on
from tests.cases.problems import objective

PENALTIES = {"ridge": (0.0, 0.05), "elastic-net": (0.02, 0.05), "lasso": (0.02, 0.0)}
BOXES = {"nonnegative": (0.0, np.inf), "box": (-0.05, 0.1), "away from 0": (0.02, 0.3), "above": (-np.inf, 0.01)}
PAIRS = [("ridge", "nonnegative"), ("elastic-net", "away from 0"), ("lasso", "box"), ("lasso", "above")]
RNG = np.random.default_rng(8)
X = RNG.normal(size=(150, 8)) * np.exp(RNG.normal(size=8)) + RNG.normal(size=8)
Z = (X - X.mean(axis=0)) @ RNG.normal(size=8) / 3.0
REAL = Z + RNG.normal(size=150)


def test_the_gap_of_a_column_is_its_penalty_less_the_line_to_the_conjugate():
    for _ in range(200):
        l1, l2 = RNG.choice([0.0, 0.3], 1), RNG.choice([0.0, 0.7], 1)
        low = RNG.choice([-np.inf, -1.0, 0.0, 0.2])
        high = RNG.choice([np.inf, 0.2, 1.5])
        w = np.clip(RNG.choice([0.0, RNG.normal()], 1), low, high)[None]
        v = RNG.normal(size=(1, 1))
        bounds = Bounds(np.array([low]), np.array([high]))

        def less(u, v=v[0, 0], l1=l1[0], l2=l2[0]):
            return l1 * abs(u) + 0.5 * l2 * u * u - v * u

        ends = (max(low, -50.0), min(high, 50.0))
        kinks = [end for end in (*ends, 0.0) if ends[0] <= end <= ends[1]]
        best = min(*map(less, kinks), minimize_scalar(less, bounds=ends, method="bounded").fun)
        gap = bounds.gaps(w, v, l1, l2)[0, 0]
        assert gap >= 0.0
        if np.isfinite(gap):
            assert gap == pytest.approx(less(w[0, 0]) - best, abs=1e-8)
        else:
            alpha = bounds.scaling(v, l1, l2)
            assert alpha < 1.0
            assert not l1 or np.isfinite(bounds.gaps(w, alpha * v, l1, l2)).all()


@pytest.mark.parametrize(("penalty", "box"), PAIRS)
@pytest.mark.parametrize("loss", sorted(set(Loss.known()) - {"softmax"}))
def test_the_gap_bounds_the_distance_and_vanishes_at_the_optimum(loss, penalty, box):
    def main(comm):
        target, channel = objective(loss, *PENALTIES[penalty], "dense", comm), Channel(comm, seed=3)
        d = target.shard.features
        lower, upper = (np.full(target.width, end) for end in (-np.inf, np.inf))
        lower[:d], upper[:d] = BOXES[box]
        target = with_best_constants(replace(target, bounds=Bounds(lower, upper)), channel)
        labels, state = label_statistics(target, channel), WorkingSet().init(target, channel)
        for k in range(40):
            if not WorkingSet().step(k, state, target, channel).step_size:
                break
        best = evaluate_exact(target, state.w, channel)
        assert (state.w >= lower).all()
        assert (state.w <= upper).all()
        scale = best.value - labels.floor
        assert 0.0 <= gap_of_gradient(target, state.w, best, labels) < 1e-7 * scale
        assert best.value - bound_from_below(target, state.w, labels, channel).lower < 1e-8 * scale
        rng = np.random.default_rng(0)
        for size in (1e-6, 1e-3, 0.1, 1.0):
            w = target.bounds.nearest(state.w + size * rng.normal(size=state.w.shape))
            w = np.clip(w, lower, upper) * (np.arange(target.width) < d + target.shard.intercept)
            exact = evaluate_exact(target, w, channel)
            assert exact.value >= best.value - 1e-12
            assert gap_of_gradient(target, w, exact, labels) >= exact.value - best.value - 1e-12
            bound = bound_from_below(target, w, labels, channel)
            assert bound.lower <= best.value + 1e-13
            assert bound.value <= exact.value + 1e-13
        return best.value

    found = [spmd(size, main)[0] for size in (1, 3)]
    np.testing.assert_allclose(found, found[0], rtol=1e-9)


def on_ranks(size, y, loss, **options):
    def main(comm):
        part = slice(comm.rank, None, comm.size)
        return mpiopt.fit(X[part], y[part], comm, loss=loss, **{"tol": 1e-14, **options})

    return spmd(size, main)[-1]


def ridge_rows(y, l2):
    """Rows of a least squares problem without a penalty."""
    return np.vstack([X, np.sqrt(len(X) * l2) * np.eye(8)]), np.r_[y, np.zeros(8)]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("coordinates", ["standardised", "file"])
def test_least_squares_are_those_of_scipy(size, coordinates):
    rows, y = ridge_rows(REAL, 1e-3)
    options = {"l2": 1e-3, "intercept": False, "coordinates": coordinates}
    fit = on_ranks(size, REAL, "squared", nonnegative=True, **options)
    np.testing.assert_allclose(fit.coef[0], nnls(rows, y)[0], atol=1e-8)
    assert fit.certified
    fit = on_ranks(size, REAL, "squared", bounds={"x*": (-0.1, 0.2), "x3": (0.25, None)}, **options)
    lower, upper = np.full(8, -0.1), np.full(8, 0.2)
    lower[2], upper[2] = 0.25, np.inf
    best = lsq_linear(rows, y, (lower, upper), tol=1e-15).x
    np.testing.assert_allclose(fit.coef[0], best, atol=1e-8)
    assert fit.certified


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("loss", ["logistic", "poisson", "gamma", "huber"])
def test_other_losses_are_those_of_scipy(loss, size):
    y = {
        "logistic": np.where(Z > 0.3, 1.0, 0.0),
        "poisson": np.random.default_rng(1).poisson(np.exp(0.5 * Z)).astype(float),
        "gamma": np.random.default_rng(2).gamma(2.0, np.exp(0.5 * Z)) + 1e-3,
        "huber": REAL,
    }[loss]
    l1, l2, member = 0.01, 0.02, Loss.make(loss)
    label = 2.0 * y - 1.0 if loss == "logistic" else y

    def value(parts):  # the weights as differences of two that are not negative, so that l1 is smooth
        w, b = parts[:8] - parts[8:16], parts[16:]
        z = (X @ w + b)[:, None]
        slope = member.slope(z, label)[:, 0] / 150
        g = X.T @ slope + l2 * w
        f = member.value(z, label).mean() + l1 * parts[:16].sum() + 0.5 * l2 * w @ w
        return f, np.concatenate([g + l1, l1 - g, [slope.sum()]])

    box = [(0.0, 0.15)] * 8 + [(0.0, 0.05)] * 8 + [(None, None)]
    solver = {"maxiter": 100_000, "maxfun": 1_000_000, "ftol": 1e-16, "gtol": 1e-11}
    best = minimize(value, np.zeros(17), jac=True, bounds=box, method="L-BFGS-B", options=solver)
    fit = on_ranks(size, y, loss, l1=l1, l2=l2, bounds="x*=-0.05:0.15")
    assert fit.certified
    assert fit.objective == pytest.approx(best.fun, rel=1e-10)
    np.testing.assert_allclose(fit.coef[0], best.x[:8] - best.x[8:16], atol=1e-5)
    assert (fit.coef >= -0.05).all()
    assert (fit.coef <= 0.15).all()


@pytest.mark.parametrize("l1", [0.0, 0.02])
def test_more_columns_than_a_set_holds(l1):
    rng = np.random.default_rng(4)
    x = sparse.random(120, 900, 0.05, "csr", rng=rng)
    y = x @ (rng.normal(size=900) * (rng.random(900) < 0.1)) + 0.1 * rng.normal(size=120)

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        options = {"loss": "squared", "l1": l1, "l2": 0.01, "intercept": False, "nonnegative": True}
        return mpiopt.fit(x[part], y[part], comm, algorithm="working-set[limit=150]", tol=1e-13, **options)

    fit = spmd(2, main)[0]
    assert fit.certified
    rows = np.vstack([x.toarray(), np.sqrt(120 * 0.01) * np.eye(900)])
    # l1 of weights that are not negative is linear: a target that moves each ridge row takes it in.
    best, _ = nnls(rows, np.r_[y, np.full(900, -l1 * 120 / np.sqrt(120 * 0.01))])
    np.testing.assert_allclose(fit.coef[0], best, atol=1e-7)
    assert 0 < (fit.coef > 0).sum() < 900


def test_a_scaled_column_and_a_start_outside_keep_to_the_bounds_of_the_file():
    free = mpiopt.fit(X, REAL, loss="squared", l2=0.01)
    fit = on_ranks(2, REAL, "squared", l2=0.01, bounds="x*=-0.1:0.1", scale="standard", init=free)
    assert fit.certified
    assert np.abs(fit.coef).max() == pytest.approx(0.1, rel=1e-12)
    inner = (X - X.mean(axis=0)) / X.std(axis=0)
    ends = 0.1 * X.std(axis=0)
    rows = np.vstack([inner, np.sqrt(150 * 0.01) * np.eye(8)])
    best = lsq_linear(rows, np.r_[REAL - REAL.mean(), np.zeros(8)], (-ends, ends), tol=1e-15).x
    np.testing.assert_allclose(fit.coef[0], best / X.std(axis=0), atol=1e-8)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("l1", "l2"), [(100.0, 0.0), (0.0, 0.01)])
def test_a_model_of_zeros_that_the_bounds_forbid_is_not_certified(l1, l2, size):
    bounds = {"x1": (0.1, 0.3), "x2": (None, -0.7), "x3": (1.0 / 3.0, 1.0 / 3.0)}
    for scale in ("none", "standard"):
        fit = on_ranks(size, REAL, "squared", l1=l1, l2=l2, bounds=bounds, scale=scale)
        assert fit.certified
        assert 0.1 <= fit.coef[0, 0] <= 0.3
        assert fit.coef[0, 1] <= -0.7
        assert fit.coef[0, 2] == 1.0 / 3.0
        far = on_ranks(size, np.ones(150), "poisson", l1=l1, l2=l2, bounds={"x*": (6.0, 7.0)}, scale=scale, tol=1e-6)
        assert far.certified
        assert far.objective < 1e5  # F of the start, of more than e^60, is no measure of it
    spent = on_ranks(size, REAL, "squared", bounds=bounds, max_epochs=0)
    assert spent.coef[0].tolist() == [0.1, -0.7, 1.0 / 3.0, *[0.0] * 5]


def test_what_bounds_do_not_go_with_is_refused_in_one_line():
    three = np.arange(150) % 3
    for y, loss, options, message in (
        (REAL, "squared", {"algorithm": "saga"}, 'saga takes no bounds on coefficients; use algorithm="working-set"'),
        (REAL, "squared", {"l2": 0.0}, "bounds on coefficients need an l2 or an l1 above 0"),
        (three, "softmax", {}, "take losses with one output, not softmax"),
        (REAL, "squared", {"compress": "natural"}, "bounds on coefficients take no compressed exchanges"),
        (REAL, "squared", {"bounds": "x9=0:"}, "no column is called 'x9'"),
        (REAL, "squared", {"bounds": "x1=1:0"}, "bounds: the least of x1, 1, is above the largest, 0"),
        (REAL, "squared", {"bounds": {"x1": (None, -1.0)}}, "column x1 is to be below 0 and at least 0"),
        (REAL, "squared", {"bounds": {"x1": 5}}, r"bounds are pairs \(least, largest\), not 5 for x1"),
        (
            REAL,
            "squared",
            {"bounds": {"x1": ("a", 1)}},
            r"bounds are pairs \(least, largest\), not \('a', 1\) for x1",
        ),
        (
            REAL,
            "squared",
            {"bounds": [(0, 1)] * 8},
            "bounds must be a mapping of names to pairs, or a text; not list",
        ),
        (REAL, "squared", {"bounds": {"a,b": (0, 1)}}, r"bounds: 'a,b' has a comma; write \? for it"),
    ):
        with pytest.raises(ValueError, match=message) as found:
            on_ranks(2, y, loss, **{"nonnegative": True, **options})
        assert "\n" not in str(found.value)


@pytest.mark.parametrize("size", [1, 3])
def test_a_path_of_nonnegative_coefficients_is_that_of_scikit_learn(size):
    options = mpiopt.PathOptions(points=5, min_ratio=1e-2)
    slopes = (X - X.mean(axis=0)).T @ (REAL - REAL.mean()) / len(X)
    sign = -1.0 if slopes.max() > -slopes.min() else 1.0  # so that the largest slope is of a column that stays 0

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        more = {"loss": "squared", "tol": 1e-12, "options": options, "folds": 2}
        return mpiopt.path(X[part], sign * REAL[part], comm, nonnegative=True, **more)

    found = spmd(size, main)[0]
    moved = {"alphas": found.strengths, "positive": True, "tol": 1e-14, "max_iter": 100_000}
    _, theirs, _ = lasso_path(X - X.mean(axis=0), sign * (REAL - REAL.mean()), **moved)
    np.testing.assert_allclose(found.coef[:, 0], theirs.T, atol=1e-7)
    assert found.certified
    assert found.points[0].nonzeros == 0
    assert found.strengths[0] == pytest.approx((sign * slopes).max(), rel=1e-8)
    boxed = mpiopt.path(X, REAL, loss="squared", bounds="x*=-0.05:0.1", options=options, scale="standard")
    assert boxed.certified
    assert boxed.coef.min() == -0.05
    assert boxed.coef.max() == 0.1


@pytest.mark.parametrize("size", [1, 2])
def test_a_summary_is_of_the_coefficients_that_are_not_at_a_bound(size):
    bounds = {"x1": (-0.1, 0.1), "x*": (-0.3, 0.3)}

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        fit = mpiopt.fit(X[part], REAL[part], comm, loss="squared", l2=0.01, bounds=bounds, tol=1e-13)
        return fit, fit.summary(X[part], REAL[part], comm)

    fit, found = spmd(size, main)[0]
    held = np.isin(np.abs(fit.coef[0]), [0.1, 0.3])
    assert 0 < held.sum() < 8
    rest = REAL - X[:, held] @ fit.coef[0, held]
    alone = mpiopt.fit(X[:, ~held], rest, loss="squared", l2=0.01, tol=1e-13)
    free = alone.summary(X[:, ~held], rest)
    assert found.names == ("const", *(f"x{j + 1}" for j in np.flatnonzero(~held)))
    np.testing.assert_allclose(found.coef, free.coef, rtol=1e-6)
    np.testing.assert_allclose(found.standard_errors, free.standard_errors, rtol=1e-6)
    assert f"{held.sum()} coefficient" in found.notes[0]
    assert "at a bound and left out" in found.notes[0]


def test_the_command_the_job_file_and_the_estimator_keep_to_bounds(here, capsys):
    rows = np.column_stack([REAL, X]).tolist()
    (here / "d.csv").write_text("y,a,b,c,d,e,f,g,h\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows))
    (here / "j.toml").write_text(
        'path = "d.csv"\nout = "j.h5"\nintercept = true\n[data.columns]\ntarget = "y"\n[model]\nloss = "squared"\n'
        'l2 = 0.01\nbounds = "a=-0.1:0.1,b=:0"\n'
    )
    assert mpiopt_on(2, "train", "j.toml", "--tol", "1e-12") == {0}
    assert "bounds on 2 coefficients" in capsys.readouterr().out
    assert command("plan", "j.toml", "--ranks", "2", "--link", "10Gbit/s,1us") == 0
    assert "working-set" in capsys.readouterr().out
    found = read_result("j.h5")
    fit = mpiopt.fit(X, REAL, loss="squared", l2=0.01, bounds={"x1": (-0.1, 0.1), "x2": (None, 0)}, tol=1e-12)
    np.testing.assert_allclose(found.coef, fit.coef, atol=1e-8)
    assert command("train", "d.csv", "--target", "y", "--loss", "squared", "--intercept", "--nonnegative") == 0
    positive = mpiopt.Regressor(nonnegative=True).fit(X, REAL)
    np.testing.assert_allclose(read_result("d.h5").coef[0], positive.coef_, atol=1e-3)
    assert positive.coef_.min() == 0.0
    for words, message in (
        (["train", "j.toml", "--bounds", "z=0:", "--overwrite"], "bounds: no column is called 'z'"),
        (["train", "j.toml", "--algorithm", "newton", "--overwrite"], "newton takes no bounds"),
        (["train", "j.toml", "--l2", "0", "--overwrite"], "need an l2 or an l1 above 0"),
        (["path", "j.toml", "--bounds", "a=0.1:", "--out", "p.csv"], "coefficients 0, which the bounds of a forbid"),
        (
            ["summary", "j.h5", "--only", "a", "--covariance", "HC0"],
            "the coefficient of a is at a bound: it has no standard error",
        ),
        (["plan", "j.toml", "--ranks", "2", "--algorithm", "newton"], "newton takes no bounds"),
    ):
        assert command(*words) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
