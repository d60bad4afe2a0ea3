"""Problems drawn from a seed: losses, penalties, weights, storage, units, offsets, outliers, collinear columns.

All numbers of a column are multiples of 2⁻¹⁰ before its unit, which is a power of two, and offsets are whole numbers.
So duplicates and sums of columns are collinear in the stored numbers, too, not only up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

LOSSES = ("logistic", "softmax", "squared", "huber", "squared-hinge", "poisson")
# Seeds from NEWER on draw these losses, too; below it seeds keep the problems that the pages tell of.
NEWER_LOSSES = ("quantile", "negative-binomial", "tweedie", "gamma", "binomial")
NEWER = 1_000_000
PENALTIES = ("none", "l1", "l2", "both")
# The exact algorithms that are not for comparison only, and how often each is drawn.
ALGORITHMS = {
    "auto": 0.5,
    "saga": 0.15,
    "lbfgs": 0.11,
    "newton": 0.11,
    "working-set": 0.05,
    "newton-cg": 0.05,
    "graph-saga": 0.03,
}
GRID = 1024.0  # numbers are multiples of 1/GRID, so that an offset of 1e12 keeps them: 1e12 · 1024 < 2⁵³
TOLERANCE = 1e-6  # by default
DECADE = np.log2(10.0)


@dataclass(frozen=True, eq=False)
class Problem:
    """What `mpiopt.fit` is given, and what is special about it."""

    seed: int
    loss: str  # with its options
    penalty: str  # one of PENALTIES
    l1: float
    l2: float | str
    intercept: bool
    algorithm: str
    tol: float
    x: Any  # (n, d) array or CSR matrix of float32 or float64
    y: np.ndarray  # (n,)
    weight: np.ndarray | None
    cuts: tuple[int, ...]  # first row of each rank, and n
    form: str  # size, storage and type of x, in words
    traits: tuple[str, ...]

    @property
    def ranks(self):
        return len(self.cuts) - 1

    @property
    def default(self):
        """Whether the algorithm and the tolerance are those of default options."""
        return self.algorithm == "auto" and self.tol == TOLERANCE

    @property
    def family(self):
        return self.loss.partition("[")[0]

    def line(self):
        """Describe the problem in one line."""
        parts = [
            f"{self.loss}, {self.penalty} (l1 {self.l1:.3g}, l2 {self.l2 if self.l2 == '1/N' else f'{self.l2:.3g}'})",
            "intercept" if self.intercept else "no intercept",
            self.form,
            f"{self.algorithm} on {self.ranks}, tol {self.tol:g}",
            *self.traits,
        ]
        return f"seed {self.seed}: " + ", ".join(parts)


class Traits:
    """What is special about a problem, as it is drawn."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.found = rng, list[str]()

    def draw(self, name: str, chance: float) -> bool:
        """Draw whether the problem has a trait, and note it."""
        there = bool(self.rng.random() < chance)
        if there:
            self.found.append(name)
        return there


def draw(seed: int) -> Problem:
    """Return the problem of a seed."""
    rng = np.random.default_rng(seed)
    loss = str(rng.choice(LOSSES if seed < NEWER else LOSSES + NEWER_LOSSES))
    traits = Traits(rng)
    n, d = int(10 ** rng.uniform(0.9, 2.477)), int(10 ** rng.uniform(0, 1.602))
    d = min(d, 10) if loss == "softmax" else d
    if traits.draw("wide", 0.1):
        n, d = int(rng.integers(6, 20)), int(rng.integers(20, 41)) if loss != "softmax" else int(rng.integers(8, 13))
        n = min(n, d - 1)
    base = columns(rng, n, d)
    if traits.draw("outlying rows", 0.1):
        rows = rng.choice(n, max(1, n // 50), replace=False)
        base[rows] *= np.round(10 ** rng.uniform(1, 4))
    y = labels(rng, loss, base, traits)
    base = collinear(rng, base, traits)
    loss = with_options(rng, loss, y, traits)
    intercept = bool(rng.random() < 0.65)
    x = in_units(rng, base, traits)
    if traits.draw("float32", 0.25):
        x = x.astype(np.float32)
    weight = weights(rng, n, traits)
    penalty = str(rng.choice(PENALTIES, p=[0.3, 0.15, 0.4, 0.15]))
    l1, l2 = strengths(rng, penalty, x, y, loss, traits)
    x = sp.csr_matrix(x) if rng.random() < 0.3 else x
    ranks = int(rng.choice([1, 2, 3], p=[0.5, 0.25, 0.25]))
    cuts = (0, *sorted(int(v) for v in rng.integers(0, n + 1, ranks - 1)), n)
    algorithm = str(rng.choice(list(ALGORITHMS), p=list(ALGORITHMS.values())))
    if not fits(algorithm, penalty, ranks):
        algorithm = "lbfgs"
    tol = float(rng.choice([TOLERANCE, 1e-8, 1e-10], p=[0.8, 0.1, 0.1]))
    form = f"{n} x {d} {'CSR' if sp.issparse(x) else 'dense'} {x.dtype}"
    return Problem(
        seed, loss, penalty, l1, l2, intercept, algorithm, tol, x, y, weight, cuts, form, tuple(traits.found)
    )


def fits(algorithm: str, penalty: str, ranks: int) -> bool:
    """Return whether an algorithm takes a problem."""
    with_l1 = penalty in ("l1", "both")
    return {"working-set": with_l1, "newton-cg": not with_l1, "graph-saga": ranks > 1}.get(algorithm, True)


def columns(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Draw columns of one kind, (n, d), on the grid."""
    kind = rng.choice(["normal", "correlated", "integers", "dummies", "sparse", "skewed"])
    x = rng.standard_normal((n, d))
    if kind == "correlated":
        x = rng.standard_normal((n, max(1, d // 3))) @ rng.standard_normal((max(1, d // 3), d)) + 0.3 * x
    elif kind == "integers":
        x = rng.integers(-3, 4, (n, d)).astype(float)
    elif kind == "dummies":
        x = one_hot(rng, n, d)
    elif kind == "sparse":
        x *= rng.random((n, d)) < 0.2
    elif kind == "skewed":
        x = np.exp(x)
    return np.round(x * GRID) / GRID


def one_hot(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Draw the dummies of categories with 2 to 6 levels, one after the other until the columns are full."""
    x = np.zeros((n, d))
    first = 0
    while first < d:
        levels = min(int(rng.integers(2, 7)), d - first)
        x[np.arange(n), first + rng.integers(0, levels, n)] = 1.0
        first += levels
    return x


def labels(rng: np.random.Generator, loss: str, x: np.ndarray, traits: Traits) -> np.ndarray:
    """Draw labels of a linear model of the columns; may set a column of `x` to a dummy on which no optimum exists."""
    n, d = x.shape
    spread = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    outputs = int(rng.integers(3, 5)) if loss == "softmax" else 1
    m = z @ rng.standard_normal((d, outputs)) * (10 ** rng.uniform(-0.5, 0.7) / np.sqrt(d))
    if loss in ("logistic", "squared-hinge"):
        m = m[:, 0] + rng.normal()
        y = (m + (0.0 if traits.draw("separable", 0.12) else rng.logistic(size=n)) > 0).astype(float)
        if traits.draw("quasi-separable", 0.08):
            x[:, 0] = rng.random(n) < 0.3
            y[x[:, 0] == 1] = 1.0
        y[:2] = 0.0, 1.0
        x[0, 0] = 0.0 if "quasi-separable" in traits.found else x[0, 0]
        return y
    if loss == "softmax":
        y = np.argmax(m + (0.0 if traits.draw("separable", 0.12) else rng.gumbel(size=m.shape)), axis=1).astype(float)
        y[:outputs] = np.arange(outputs)[: len(y)]
        return y
    if loss == "gamma":
        return np.exp(np.clip(m[:, 0] + rng.uniform(-2, 3), -6, 6)) * rng.gamma(2.0, 0.5, n) + 1e-9
    if loss == "binomial":
        y = rng.binomial(4, 1.0 / (1.0 + np.exp(-m[:, 0]))) / 4.0
        y[:2] = 0.25, 0.5
        return y
    if loss in ("poisson", "negative-binomial", "tweedie"):
        y = rng.poisson(np.exp(np.clip(m[:, 0] + rng.uniform(-2, 3), -6, 6))).astype(float)
        if loss == "tweedie":
            y *= np.round(rng.gamma(2.0, 0.5, n) * GRID + 1.0) / GRID
        if traits.draw("zero-count dummy", 0.12):
            x[:, 0] = rng.random(n) < 0.3
            x[0, 0], y[1 % n] = 1.0, 1.0
            x[1 % n, 0] = 0.0
            y[x[:, 0] == 1] = 0.0
        if traits.draw("only zero counts", 0.01):
            y[:] = 0.0
        elif not y.any():
            y[-1] = 1.0
        return y
    return real_targets(rng, m[:, 0], traits)


def real_targets(rng: np.random.Generator, m: np.ndarray, traits: Traits) -> np.ndarray:
    """Draw real targets around the margins, in units and with an offset."""
    n = len(m)
    noise = rng.standard_normal(n) * 10 ** rng.uniform(-3, 0.3)
    if traits.draw("outlying targets", 0.15):
        noise *= np.where(rng.random(n) < 0.1, 10 ** rng.uniform(1, 4), 1.0)
    if traits.draw("exact targets", 0.03):
        noise *= 0.0
    y = m + noise
    if traits.draw("target offset", 0.2):
        y = y + np.round(10 ** rng.uniform(0, 12 if rng.random() < 0.3 else 6))
    if traits.draw("target units", 0.3):
        y = y * 10 ** rng.uniform(-9, 9)
    return y


def with_options(rng: np.random.Generator, loss: str, y: np.ndarray, traits: Traits) -> str:
    """Return the loss with its options: the default, or drawn; residuals are around the spread of the targets."""
    if loss == "quantile":
        middle = float(np.median(np.abs(y - np.median(y)))) or 1.0
        return f"quantile[tau={rng.uniform(0.1, 0.9):.3g},width={middle * 10 ** rng.uniform(-1.5, 1):.6g}]"
    if loss == "tweedie":
        return f"tweedie[power={rng.uniform(1.1, 1.9):.3g}]"
    if loss == "negative-binomial":
        return f"negative-binomial[theta={10 ** rng.uniform(-1, 2):.4g}]"
    if loss != "huber" or rng.random() < 0.4:
        return loss
    middle = float(np.median(np.abs(y - np.median(y)))) or 1.0
    return f"huber[delta={middle * 10 ** rng.uniform(-2, 1):.6g}]"


def collinear(rng: np.random.Generator, x: np.ndarray, traits: Traits) -> np.ndarray:
    """Replace some columns by constants, by copies and sums of others, or by near copies."""
    n, d = x.shape
    if d > 1 and traits.draw("constant column", 0.1):
        x[:, rng.integers(1, d)] = rng.choice([0.0, 1.0, 5.0])
    if d > 2 and traits.draw("duplicate column", 0.1):
        x[:, -1] = x[:, 0] * 2.0 ** rng.integers(-3, 4)
    if d > 3 and traits.draw("collinear columns", 0.08):
        x[:, -2] = x[:, 0] + x[:, 1]
    if d > 4 and traits.draw("nearly collinear", 0.08):
        x[:, -3] = x[:, 1] + np.round(rng.standard_normal(n) * 10 ** rng.uniform(-6, -2) * 2**20) / 2**20
    return x


def in_units(rng: np.random.Generator, x: np.ndarray, traits: Traits) -> np.ndarray:
    """Add offsets up to 1e12 and multiply columns by powers of two from 1e-9 to 1e9."""
    d = x.shape[1]
    if traits.draw("offsets", 0.2):
        largest = 12 if rng.random() < 0.4 else 6
        x = x + np.where(rng.random(d) < 0.5, np.round(10 ** rng.uniform(0, largest, d)), 0.0)
    if traits.draw("units", 0.3):
        decades = rng.uniform(-9, 9, d) if rng.random() < 0.7 else np.full(d, rng.uniform(-9, 9))
        x = x * 2.0 ** np.round(decades * DECADE)
    return x


def weights(rng: np.random.Generator, n: int, traits: Traits) -> np.ndarray | None:
    """Draw weights: none, random, with zeros, or counts of rows."""
    if traits.draw("weights", 0.12):
        return rng.uniform(0.1, 3.0, n)
    if traits.draw("weights with zeros", 0.1):
        weight = rng.uniform(0.1, 3.0, n) * (rng.random(n) < 0.8)
        weight[0] = 1.0
        return weight
    return rng.integers(1, 6, n).astype(float) if traits.draw("frequency weights", 0.12) else None


def strengths(
    rng: np.random.Generator, penalty: str, x: np.ndarray, y: np.ndarray, loss: str, traits: Traits
) -> tuple[float, float | str]:
    """Draw l1 and l2 over decades, in absolute numbers or relative to the spread of the columns and labels."""
    relative = bool(rng.random() < 0.5)
    l1 = 10 ** rng.uniform(-6, 0)
    l2: float | str = 10 ** rng.uniform(-8, 1)
    wide = x.astype(float)
    wide = wide - wide.mean(axis=0)
    if relative:
        target = y - y.mean()
        l1 = float(np.abs(wide.T @ target).max() / len(y)) * 10 ** rng.uniform(-4, 0.1) or l1
        l2 = float(np.median((wide**2).mean(axis=0))) * 10 ** rng.uniform(-8, 0) or l2
    elif rng.random() < 0.5:
        l2 = "1/N"
    if penalty != "none":
        traits.found.append("relative strength" if relative else "absolute strength")
    return l1 if penalty in ("l1", "both") else 0.0, l2 if penalty in ("l2", "both") else 0.0
