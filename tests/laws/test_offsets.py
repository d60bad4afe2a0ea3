"""An offset is in the margin of every loss with one output: the fit is the optimum that scipy finds, on any ranks."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse import csr_array

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import Model
from mpiopt.core.config.spec import parse_spec
from mpiopt.data.offsets import beside
from mpiopt.data.shard import DenseRows
from mpiopt.objective import passes
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.offset_loss import with_offsets
from mpiopt.training.problem import link_of
from tests.cases.problems import FEATURES, SIZES, TOTAL, bounds, content

L2 = 0.02
LOSSES = sorted(name for name in Loss.known() if Loss.make(name).outputs(3) == 1)
AS = {1: ("auto", "dense"), 2: ("saga", "sparse"), 3: ("newton-cg", "sparse"), 5: ("lbfgs", "dense")}
OFFSET = 0.7 * np.random.default_rng(5).normal(size=TOTAL)


def problem(name):
    """Rows, labels and weights, and the factor that the rows of this loss get by their offsets beside the weights."""
    x, label, weight = content(Loss.make(name))
    link, _, power = link_of(Model(parse_spec(name))).partition(":")
    return x[:, :FEATURES], label, weight, np.exp(float(power or 1.0) * OFFSET) if link == "log" else np.ones(TOTAL)


def optimum(name):
    """The optimum of weighted losses at x·w + b + o, whose weights beside the penalty are those of the rates."""
    loss, (x, label, weight, factor) = Loss.make(name), problem(name)
    s = weight / (weight * factor).sum()

    def f(w):
        z = (x @ w[:-1] + w[-1] + OFFSET)[:, None]
        slope = s * loss.slope(z, label)[:, 0]
        return s @ loss.value(z, label) + 0.5 * L2 * w[:-1] @ w[:-1], np.append(
            x.T @ slope + L2 * w[:-1], slope.sum()
        )

    start = np.append(np.zeros(FEATURES), 1.0 if name == "inverse-gaussian" else 0.0)
    return f, minimize(f, start, jac=True, method="BFGS", options={"gtol": 1e-12, "maxiter": 5000}).fun


def fits(name, algorithm, form, size):
    x, label, weight, _ = problem(name)

    def work(comm):
        part = slice(*bounds(comm.size, comm.rank))
        rows = csr_array(x[part]) if form == "sparse" else x[part]
        given = {"sample_weight": weight[part], "offset": OFFSET[part]}
        return mpiopt.fit(rows, label[part], comm, loss=name, l2=L2, tol=1e-10, algorithm=algorithm, **given)

    return spmd(size, work)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_fit_with_offsets_is_the_optimum(name, size):
    f, least = optimum(name)
    for fit in fits(name, *AS[size], size):
        value = f(np.append(fit.coef[0], fit.intercept))[0]
        assert fit.certified
        assert value - least <= 1e-9 * max(abs(least), 1.0)
        assert least - value <= 1e-9 * max(abs(least), 1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_the_functions_of_a_loss_with_offsets_are_its_own_at_moved_margins(name):
    loss, (x, label, weight, _) = Loss.make(name), problem(name)
    found, y, z = with_offsets(loss), beside(label, OFFSET), x[:, :1] + (name == "inverse-gaussian")
    moved = z + OFFSET[:, None]
    for each in ("value", "slope", "curvature", "mean_curvature", "majorant", "expected_curvature", "deviance"):
        np.testing.assert_array_equal(getattr(found, each)(z, y), getattr(loss, each)(moved, label))
    u = loss.slope(moved, label)
    np.testing.assert_allclose(
        found.conjugate(u, y), u[:, 0] * z[:, 0] - loss.value(moved, label), rtol=1e-9, atol=1e-9
    )  # equal where u is the slope (Fenchel)
    rows, w = DenseRows(np.ascontiguousarray(np.pad(x, ((0, 0), (0, 2))))), np.full((1, 8), 0.1)
    value, gradient = passes.value_and_gradient(rows, y, weight, found, w, np.empty((0, 1)))
    at = rows.values @ w.T + OFFSET[:, None]
    assert value == pytest.approx(weight @ loss.value(at, label), rel=1e-12)
    np.testing.assert_allclose(
        gradient[0], (weight * loss.slope(at, label)[:, 0]) @ rows.values, rtol=1e-10, atol=1e-12
    )


def test_a_separable_problem_with_offsets_is_not_said_to_have_no_optimum():
    """Offsets alone put every row on its side, but larger weights do not lower the loss: there is an optimum."""
    x, label, *_ = problem("logistic")
    fit = mpiopt.fit(x, label, loss="logistic", l2=0.0, offset=30.0 * label, tol=1e-6)
    assert fit.ending != "no optimum"


def test_a_row_without_weight_may_have_any_offset():
    x, label, weight, _ = problem("inverse-gaussian")
    given = {"sample_weight": np.where(np.arange(TOTAL) == 3, 0.0, weight), "loss": "inverse-gaussian", "l2": L2}
    far = np.where(np.arange(TOTAL) == 3, 1e200, OFFSET)
    found, same = (mpiopt.fit(x, label, offset=offset, **given) for offset in (far, OFFSET))
    assert found.certified
    assert found.objective == same.objective


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("name", ["logistic", "negative-binomial", "poisson"])
def test_where_rows_are_separated_offsets_do_not_make_an_optimum(name, intercept):
    x, *_ = problem("logistic")
    label = np.where(x[:, 0] > 0.0, 1.0, -1.0)
    if name != "logistic":  # counts are 0 wherever the first column is not
        x = np.column_stack([x[:, 0] > 1.0, x[:, 1:]]).astype(float)
        label = np.where(x[:, 0] > 0.0, 0.0, np.arange(TOTAL) % 4)

    def work(comm):
        part = slice(*bounds(comm.size, comm.rank))
        given = {"offset": OFFSET[part], "intercept": intercept, "tol": 1e-8}
        return mpiopt.fit(x[part], label[part], comm, loss=name, l2=0.0, **given)

    for fit in spmd(2, work):
        assert fit.ending == "no optimum"
        assert "falls for ever" in fit.reason


@pytest.mark.parametrize("name", ["poisson", "squared", "logistic"])
def test_a_path_with_offsets_has_the_points_of_fits_and_its_folds_those_of_other_rows(name):
    x, label, weight, _ = problem(name)
    fold = np.arange(TOTAL) % 2

    def work(comm):
        part = slice(*bounds(comm.size, comm.rank))
        given = {"sample_weight": weight[part], "offset": OFFSET[part], "folds": fold[part]}
        options = mpiopt.PathOptions(points=3, l1_ratio=0.5)
        found = mpiopt.path(x[part], label[part], comm, loss=name, options=options, tol=1e-9, **given)
        return found, found.cross_validation.margins

    every = spmd(2, work)
    found, margins = every[0][0], np.concatenate([part for _, part in every])
    point = found.best
    whole = {"loss": name, "l1": point.l1, "l2": point.l2, "tol": 1e-9}
    fit = mpiopt.fit(x, label, sample_weight=weight, offset=OFFSET, **whole)
    np.testing.assert_allclose(point.model.coef, fit.coef, atol=1e-4)
    other = mpiopt.fit(
        x[fold == 1], label[fold == 1], sample_weight=weight[fold == 1], offset=OFFSET[fold == 1], **whole
    )
    expected = other.margins(x[fold == 0])[:, 0] + OFFSET[fold == 0]
    np.testing.assert_allclose(margins[fold == 0, 0], expected, atol=1e-3)


@pytest.mark.parametrize("name", ["sample_weight", "offset", "exposure"])
def test_an_array_that_some_ranks_do_not_give_is_one_line_on_all(name):
    x, label, *_ = problem("poisson")
    fit = mpiopt.fit(x, label, loss="poisson", l2=L2)

    def work(comm):
        part = slice(*bounds(comm.size, comm.rank))
        rows, y, said = x[part], label[part], []
        given = {name: np.ones(len(y))} if comm.rank != 1 else {}
        for asked in (mpiopt.fit, mpiopt.path, fit.summary):
            with pytest.raises(ValueError, match="on all ranks, or on none") as error:
                asked(rows, y, comm, **given, **({} if asked == fit.summary else {"loss": "poisson"}))
            said.append(str(error.value))
        return said

    for said in spmd(3, work):
        assert {*said} == {f"{name} is given on ranks 0, 2 and not on rank 1; give it on all ranks, or on none"}
