"""Small strongly convex problems for laws: the same rows on any number of ranks, cut unequally."""

import numpy as np

from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

TOTAL, FEATURES, WIDTH, CLASSES = 160, 6, 8, 3
SIZES = (1, 2, 3, 5)


def content(loss):
    """Rows with an intercept's column of ones, labels that fit the loss, weights of mean 1."""
    rng = np.random.default_rng(11)
    x = np.zeros((TOTAL, WIDTH))
    x[:, :FEATURES] = rng.normal(size=(TOTAL, FEATURES)) * (rng.random((TOTAL, FEATURES)) < 0.7)
    x[:, FEATURES] = 1
    noise = rng.normal(size=TOTAL)
    margin = x[:, :FEATURES] @ rng.normal(size=FEATURES)
    labels = {
        "binary": np.where(margin + noise > 0, 1.0, -1.0),
        "real": margin + noise,
        "count": rng.poisson(np.exp(margin / 3)).astype(float),
        "multiclass": np.digitize(margin + noise, [-1, 1]).astype(float),
        "positive": np.exp(margin / 3 + noise / 2),
        "rate": np.round(4 / (1 + np.exp(-margin - noise))) / 4,
    }
    weight = rng.uniform(0.5, 1.5, TOTAL)
    return x, labels[loss.target], weight / weight.mean()


def bounds(size, rank):
    """Unequal shards: the first rank owns as much as all others, the last (of more than three) nothing."""
    if size == 1:
        return 0, TOTAL
    cuts = [0, *np.linspace(TOTAL // 2, TOTAL, size - 1 if size > 3 else size).astype(int)]
    cuts = [*cuts, TOTAL] if size > 3 else cuts
    return int(cuts[rank]), int(cuts[rank + 1])


def sparse(x, width=FEATURES + 1):
    """The same rows in CSR form, without padding."""
    rows, columns = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(x)))]).astype(np.int64)
    return CsrRows(indptr, columns.astype(np.int32), x[rows, columns], width)


def objective(loss_name, l1, l2, form, comm):
    """One rank's objective of the problem, its arrays read-only."""
    loss = Loss.make(loss_name)
    x, label, weight = content(loss)
    begin, end = bounds(comm.size, comm.rank)
    order = np.random.default_rng(comm.rank).permutation(end - begin)
    x, label, weight = x[begin:end][order], label[begin:end][order], weight[begin:end][order]
    rows = DenseRows(x) if form == "dense" else sparse(x)
    shard = Shard(rows, label, weight, order, begin, TOTAL, FEATURES, intercept=True)
    for array in (label, weight, order, *vars(rows).values()):
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return Objective(loss, Penalty.make("elastic-net", {"l1": l1, "l2": l2}), shard, CLASSES)


def at_optimum(target, channel):
    """Newton's state after steps until the model moves no more than rounding."""
    state = Newton().init(target, channel)
    for k in range(40):
        before = state.w.copy()
        Newton().step(k, state, target, channel)
        if np.abs(state.w - before).max() <= 1e-15 * np.abs(before).max():
            break
    return state
