"""Units never matter: a column times 1e9 or plus 1e12 gives the same predictions after as many epochs.

The penalty of a column is in the file's units, so a column times u has the same optimum where the penalty on it has
the factor that matches: its weight is u times smaller. Such a factor is what `Shard.column_scale` divided by u means.
"""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config.spec import PluginSpec
from mpiopt.core.partition import block
from mpiopt.data.coordinates import standardised
from mpiopt.data.row_formats import set_intercept
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.results.model import in_file_units
from mpiopt.training.problem import penalty, pick

ROWS, COLUMNS, CLASSES = 144, 4, 3
LOSSES = sorted(Loss.known())
PENALTIES = {"none": (0.0, 0.0), "ridge": (0.0, 0.02), "lasso": (0.01, 0.0), "elastic-net": (0.01, 0.02)}
ALGORITHMS = ("newton", "lbfgs", "saga", "auto")
FAR = 1e12
UNITS = np.array([1.0, 1e-9, 1e9, 1.0])
OFFSET = np.array([FAR, 0.0, 0.0, 0.0])
PRECISION, BUDGET = 1e-6, 150.0  # of F - F*, relative; epochs
LESS, FEW, SEARCH = 1 / 5, 2.0, 10.0  # epochs by which two runs may differ: a part of them, or so many


def content(loss, sparse):
    """Rows whose first two columns have no zero, and labels that no model fits exactly."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, COLUMNS)) + 0.5
    x[:, 0] = (x[:, 0] + FAR) - FAR  # what is left of the column after it was far away
    x[:, 2:] *= rng.random((ROWS, 2)) < (0.4 if sparse else 1.0)
    z = x @ [1.0, -0.7, 0.5, 0.0] + rng.normal(size=ROWS)
    labels = {
        "binary": np.where(z > 0.3, 1.0, -1.0),
        "real": z,
        "count": rng.poisson(np.exp(z / 4)).astype(float),
        "multiclass": np.digitize(z, [-0.5, 1.0]).astype(float),
        "positive": np.exp(z / 4),
        "rate": np.round(4 / (1 + np.exp(-z))) / 4,
    }
    return x, labels[loss.target]


def rows_of(x, sparse, intercept=True):
    """Rows in one form, with space for the intercept."""
    if not sparse:
        return DenseRows(np.hstack([x, np.zeros((len(x), 8 - x.shape[1]))]))
    s = sp.csr_matrix(np.hstack([x, np.ones((len(x), 1))]) if intercept else x)
    if intercept:
        s.data[s.indptr[1:] - 1] = 0.0
    return CsrRows(s.indptr.astype(np.int64), s.indices.astype(np.int32), s.data, x.shape[1] + intercept)


def posed(comm, x, y, loss, strengths, sparse, factor, intercept=True):
    """The objective on this rank's rows in standardised coordinates, with a penalty factor for each column."""
    mine, weight = slice(*block(ROWS, comm.size, comm.rank)), 1.0 + np.arange(ROWS) % 3
    weight = weight / weight.mean()
    rows, n = rows_of(x[mine], sparse, intercept), len(y[mine])
    where = standardised(rows, weight[mine], COLUMNS, intercept, comm)
    rows = where.move(rows)
    rows = set_intercept(rows, COLUMNS) if intercept else rows
    scale, begin = where.scale / factor, block(ROWS, comm.size, comm.rank)[0]
    shard = Shard(rows, y[mine], weight[mine], np.arange(n), begin, ROWS, COLUMNS, intercept, scale)
    return Objective(loss, penalty(*strengths), shard, CLASSES), where


def fitted(ranks, algorithm, x, y, loss, strengths, sparse, factor, intercept=True):
    """Run on so many ranks; return the margins of all rows, and the objective after each epoch."""

    def main(comm):
        objective, where = posed(comm, x, y, loss, strengths, sparse, factor, intercept)
        chosen = pick(PluginSpec(algorithm), objective, PRECISION, comm)[0].first
        channel = chosen.run_channel(Channel(comm, seed=3))
        state, epochs, course, k = chosen.init(objective, channel), 0.0, [], 0
        while epochs < BUDGET and (len(course) < 4 or np.ptp([v for _, v in course[-4:]]) > 1e-14 * course[-1][1]):
            info = chosen.step(k, state, objective, channel)
            epochs, k = epochs + info.epochs, k + 1
            course.append((epochs, evaluate_exact(objective, state.w, channel).value))
        no, one = np.zeros(COLUMNS), np.ones(COLUMNS)
        return in_file_units(state.w, COLUMNS, intercept, no, one, where), course

    model, course = spmd(ranks, main)[0]
    z = model.margins(rows_of(x, True, intercept=False) if sparse else DenseRows(x))
    return (z - z.mean(axis=1, keepdims=True) if z.shape[1] > 1 else z), np.array(course)


def reached(course, best):
    """Return the epoch at which F - F* is at most PRECISION, relative."""
    near = course[:, 1] - best <= PRECISION * abs(best)
    assert near.any()
    return course[near][0, 0]


# Dense or sparse rows in turn, so that each loss, penalty and algorithm meets both.
CASES = [
    (loss, name, algorithm, (i + i // 4 + i // 16) % 2 == 1, 1 + i % 3)
    for i, (loss, name, algorithm) in enumerate(itertools.product(LOSSES, PENALTIES, ALGORITHMS))
    # Their curvature has no bound: without a preconditioner SAGA's first steps overflow, in any units.
    if not (loss in ("poisson", "tweedie") and algorithm == "saga" and PENALTIES[name][0] > 0)
]


@pytest.mark.parametrize(("loss", "name", "algorithm", "sparse", "ranks"), CASES)
def test_units_and_offsets_change_neither_predictions_nor_epochs(loss, name, algorithm, sparse, ranks):
    loss, strengths = Loss.make(loss), PENALTIES[name]
    # The size of a sparse column changes by some per cent where it leaves the columns that are alike. The search for
    # the longest step, which SAGA makes with l1, may then be some of its periods ahead or behind, as with other rows.
    few = SEARCH if sparse and strengths[0] > 0 and algorithm in ("saga", "auto") else FEW
    x, y = content(loss, sparse)
    one = np.ones(COLUMNS)
    z, course = fitted(ranks, algorithm, x, y, loss, strengths, sparse, one)
    best = course[:, 1].min()
    for other, factor in ((x * UNITS, UNITS), (x + OFFSET, one)):
        z_other, course_other = fitted(ranks, algorithm, other, y, loss, strengths, sparse, factor)
        best = min(best, course_other[:, 1].min())
        assert course_other[:, 1].min() == pytest.approx(course[:, 1].min(), rel=1e-8)
        assert np.abs(z_other - z).max() < 1e-3 * np.abs(z).max()
        epochs, others = reached(course, best), reached(course_other, best)
        assert abs(others - epochs) <= max(few, LESS * epochs)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_units_change_nothing_without_an_intercept(loss, sparse):
    loss, one = Loss.make(loss), np.ones(COLUMNS)
    x, y = content(loss, sparse)
    z, course = fitted(2, "auto", x, y, loss, PENALTIES["ridge"], sparse, one, intercept=False)
    z_other, others = fitted(2, "auto", x * UNITS, y, loss, PENALTIES["ridge"], sparse, UNITS, intercept=False)
    assert others[:, 1].min() == pytest.approx(course[:, 1].min(), rel=1e-8)
    assert np.abs(z_other - z).max() < 1e-3 * np.abs(z).max()


def test_the_penalty_is_in_the_units_of_the_file():
    loss, one = Loss.make("squared"), np.ones(COLUMNS)
    x, y = content(loss, False)

    def main(comm):
        inside, where = posed(comm, x, y, loss, (0.3, 0.7), False, one)
        w = np.zeros((1, 8))
        w[0, :COLUMNS] = np.arange(1.0, 5.0)
        of_file = w[0, :COLUMNS] / where.scale
        return inside.penalty_value(w), 0.3 * np.abs(of_file).sum() + 0.35 * (of_file**2).sum()

    got, wanted = spmd(1, main)[0]
    assert got == pytest.approx(wanted, rel=1e-14)
