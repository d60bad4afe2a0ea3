"""What the ranks of a cell minimise: least squares on made-up rows, or logistic regression on the rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.row_formats import padded_width
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.passes import dense_block
from mpiopt.objective.penalties.base import Penalty
from mpiopt.studies.saga_facts.synthetic import optimum
from mpiopt.studies.stepsize.synthetic import RankRows, SyntheticRegression, Vector, regression_of

RIDGE = 0.1  # l2 times the rows of a rank, over the smoothness of its loss: that of the public comparison


class GraphProblem(Protocol):
    """An objective whose optimum is known."""

    def gap(self, w: Vector) -> float:
        """Return (F − F*)/(F(0) − F*) at w, shape (features,)."""

    def objective(self, comm: Comm) -> Objective:
        """Return the objective of one rank."""

    @property
    def features(self) -> int:
        """Number of columns."""


@dataclass(frozen=True)
class Regression:
    """Least squares without a penalty."""

    parts: Sequence[RankRows]

    @property
    def features(self) -> int:
        """Number of columns."""
        return int(self.parts[0].a.shape[1])

    @cached_property
    def whole(self) -> SyntheticRegression:
        """The problem of all ranks."""
        return regression_of(self.parts)

    def gap(self, w: Vector) -> float:
        """Return (F − F*)/(F(0) − F*)."""
        return self.whole.gap(w)

    def objective(self, comm: Comm) -> Objective:
        """Return least squares on the rows of a rank."""
        return objective_of(self.parts[comm.rank], comm, "squared", Penalty.make("none"))


@dataclass(frozen=True)
class Classification:
    """Logistic regression with a ridge; b has labels −1 and +1."""

    parts: Sequence[RankRows]

    @property
    def features(self) -> int:
        """Number of columns."""
        return int(self.parts[0].a.shape[1])

    @cached_property
    def whole(self) -> RankRows:
        """The rows of all ranks."""
        return RankRows(np.concatenate([a for a, _ in self.parts]), np.concatenate([b for _, b in self.parts]))

    @cached_property
    def l2(self) -> float:
        """The mean over the ranks of RIDGE L_i/n_i, L_i the smoothness of the loss on a rank's rows."""
        limits = [0.25 * float(np.linalg.eigvalsh(a.T @ a / len(a))[-1]) / len(a) for a, _ in self.parts]
        return RIDGE * sum(limits) / len(limits)

    @cached_property
    def best(self) -> float:
        """F*."""
        return optimum(*self.whole, self.l2)

    def gap(self, w: Vector) -> float:
        """Return (F − F*)/(F(0) − F*)."""
        a, b = self.whole
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(np.logaddexp(0.0, -b * (a @ w)).mean() + 0.5 * self.l2 * w @ w)
        return (value - self.best) / (float(np.log(2.0)) - self.best)

    def objective(self, comm: Comm) -> Objective:
        """Return the loss on the rows of a rank, and the ridge."""
        return objective_of(self.parts[comm.rank], comm, "logistic", Penalty.make("ridge", {"l2": self.l2}))


def read(path: str, ranks: int, seed: int) -> Classification:
    """Return the rows of a file, shuffled, sorted by label and cut into equal parts; a rest is left out.

    So most ranks have rows of one class alone.

    Raises
    ------
    ValueError
        If the file cannot be read, or has not two classes.
    """
    shard = prepare(path, "binary", DataOptions(coordinates="file"), 0, single()).shard
    a, b = dense_block(shard.rows, slice(0, len(shard)), shard.features), shard.label
    order = np.random.default_rng(seed).permutation(len(b))
    order = order[np.argsort(b[order], kind="stable")]
    n = len(b) // ranks
    cuts = [order[n * rank : n * (rank + 1)] for rank in range(ranks)]
    return Classification([RankRows(np.ascontiguousarray(a[cut]), b[cut]) for cut in cuts])


def objective_of(rows: RankRows, comm: Comm, loss: str, penalty: Penalty) -> Objective:
    """Return the objective on the rows of a rank; all ranks have equally many."""
    n, d = rows.a.shape
    x = np.zeros((n, padded_width(d)))
    x[:, :d] = rows.a
    shard = Shard(DenseRows(x), rows.b, np.ones(n), np.arange(n), n * comm.rank, n * comm.size, d)
    return Objective(Loss.make(loss), penalty, shard)
