"""A start in the space of the rows is the optimum, on any number of ranks, and is made only where it pays."""

from dataclasses import replace

import numpy as np
import pytest

import mpiopt
from mpiopt.algorithms.second_order import row_space
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from tests.cases.problems import SIZES

N, D = 24, 60


def problem(comm, loss="squared-hinge", form="dense", intercept=True, l1=0.0, rows=N):
    """Fewer rows than columns, unequal ridges and weights; the last ranks may have no rows."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(rows, D)) * (rng.random((rows, D)) < 0.5)
    kind = Loss.make(loss)
    y = np.where(rng.random(rows) < 0.5, 1.0, -1.0) if kind.target == "binary" else rng.poisson(2.0, rows) * 1.0
    weight = rng.uniform(0.5, 1.5, rows)
    share = -(-rows // max(1, comm.size - 1))
    mine = slice(min(rows, comm.rank * share), min(rows, (comm.rank + 1) * share))
    width = D + 4 if form == "dense" else D + intercept
    whole = np.zeros((rows, width))
    whole[:, :D] = x
    if intercept:
        whole[:, D] = 1.0
    part = whole[mine]
    if form == "dense":
        stored = DenseRows(part.copy())
    else:
        i, j = np.nonzero(part)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=len(part)))]).astype(np.int64)
        stored = CsrRows(indptr, j.astype(np.int32), part[i, j], width)
    weight = weight / weight.mean()
    scale = rng.uniform(0.5, 2.0, D)
    order = np.arange(len(part))
    shard = Shard(stored, y[mine], weight[mine], order, mine.start, rows, D, intercept, scale)
    return Objective(kind, Penalty.make("elastic-net", {"l1": l1, "l2": 1.0 / rows}), shard)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize(("loss", "intercept"), [("squared-hinge", True), ("logistic", False), ("poisson", True)])
def test_the_start_is_the_optimum(size, form, loss, intercept, monkeypatch):
    monkeypatch.setattr(row_space, "TUNING", replace(row_space.TUNING, passes=1e9, jump_passes=1e9))

    def main(comm):
        channel, target = Channel(comm), problem(comm, loss, form, intercept)
        found = row_space.with_start(target, channel)
        w = found.objective.beginning()
        exact = evaluate_exact(target, w, channel)
        return w, np.abs(exact.gradient + target.ridge * w)[:, : D + intercept].max(), found.epochs

    every = spmd(size, main)
    for w, slope, epochs in every:
        assert slope < 1e-6
        assert epochs > 0.0
        assert w.tobytes() == every[0][0].tobytes()


@pytest.mark.parametrize(
    "change", [{"l1": 0.01}, {"rows": D + 1}, {"loss": "squared"}, {"loss": "negative-binomial", "rows": 1}]
)
def test_no_start_where_it_is_not_the_optimum_or_does_not_pay(change, monkeypatch):
    monkeypatch.setattr(row_space, "TUNING", replace(row_space.TUNING, passes=1e9, jump_passes=1e9))
    target = spmd(1, lambda comm: row_space.with_start(problem(comm, **change), Channel(comm)))[0]
    assert target.objective.initial is None
    assert target.epochs == 0.0


def test_a_fit_with_few_rows_ends_soon():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3000)), np.where(rng.random(60) < 0.5, 1.0, -1.0)
    fit = mpiopt.fit(x, y, loss="squared-hinge")
    assert fit.certified
    assert fit.history[-1].epoch < 15  # 300 without the start


def test_rows_that_depend_on_each_other_are_no_error():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(20, 900)), 2, axis=0)
    fit = mpiopt.fit(x, np.tile([1.0, -1.0], 20), loss="squared-hinge")  # each row has both labels
    assert fit.certified


@pytest.mark.parametrize("loss", ["squared-hinge", "poisson"])
def test_a_fit_of_columns_far_from_0_without_an_intercept_has_its_optimum(loss):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 200)) + 1e6, np.where(rng.random(30) < 0.5, 1.0, -1.0)
    fit = mpiopt.fit(x, np.maximum(y, 0.0) if loss == "poisson" else y, loss=loss, intercept=False, l2=0.01)
    assert fit.certified
