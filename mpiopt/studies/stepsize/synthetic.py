"""Synthetic least squares: f_i(x) = ‖A_i x − b_i‖²/(2m) on rank i, with L_i from 1 to the spread on a log scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.job import at_least

Vector = NDArray[np.float64]
NOISE = 0.1  # standard deviation of the noise in b_i, in units of the rank's scale


class RankRows(NamedTuple):
    """The rows of one rank."""

    a: Vector  # (rows, features)
    b: Vector  # (rows,)


def check_problem(job: Any) -> None:
    """Refuse sizes, a seed or a budget for which no problem can be made; `job` is a study with these fields."""
    for name, least in (("rows", 2), ("features", 1), ("condition", 1), ("seed", 0), ("max_iterations", 1)):
        at_least(name, getattr(job, name), least)
    if job.rows < job.features:
        raise ValueError(f"rows must be at least features, {job.features}, not {job.rows}")


@dataclass(frozen=True, eq=False)
class SyntheticRegression:
    """Curvatures and right-hand sides: ∇f_i(x) = H_i x − c_i; F is the mean of the f_i."""

    h: NDArray[np.float64]  # (n, d, d)
    c: NDArray[np.float64]  # (n, d)

    @cached_property
    def curvature(self) -> Vector:
        """H of F, shape (d, d)."""
        return np.asarray(self.h.mean(axis=0))

    @cached_property
    def optimum(self) -> Vector:
        """x*, shape (d,)."""
        return np.asarray(np.linalg.solve(self.curvature, self.c.mean(axis=0)))

    @property
    def limits(self) -> Vector:
        """L_i of each rank."""
        return np.asarray(np.linalg.eigvalsh(self.h)[:, -1])

    @property
    def smoothness(self) -> float:
        """L of F."""
        return float(np.linalg.eigvalsh(self.curvature)[-1])

    @property
    def safe_alpha(self) -> float:
        """2/(mean L_i · mean 1/L_i): below it the mean of the steps 1/L_i is safe where curvatures are isotropic."""
        limits = self.limits
        return float(2.0 / (limits.mean() * (1.0 / limits).mean()))

    def gradient(self, rank: int, x: Vector) -> Vector:
        """Return ∇f_i(x)."""
        return np.asarray(self.h[rank] @ x - self.c[rank])

    def gap(self, x: Vector) -> float:
        """Return (F(x) − F*)/(F(0) − F*), computed from the distance to the optimum and so exact near it."""
        h, best = self.curvature, self.optimum
        with np.errstate(over="ignore", invalid="ignore"):
            return float((x - best) @ h @ (x - best) / (best @ h @ best))


def make(
    ranks: int, rows: int, features: int, condition: float, spreads: Iterable[float], seed: int
) -> dict[float, SyntheticRegression]:
    """Make one problem for each spread, one after the other from one generator."""
    rng = np.random.default_rng(seed)
    return {spread: regression_of(data(ranks, rows, features, condition, spread, rng)) for spread in spreads}


def regression_of(parts: Sequence[RankRows]) -> SyntheticRegression:
    """Return curvatures and right-hand sides of the rows of all ranks."""
    return SyntheticRegression(
        np.array([a.T @ a / len(a) for a, _ in parts]), np.array([a.T @ b / len(a) for a, b in parts])
    )


def data(
    ranks: int, rows: int, features: int, condition: float, spread: float, rng: np.random.Generator
) -> list[RankRows]:
    """Draw the rows of each rank; columns get smaller so that the curvature has this condition number."""
    truth = rng.standard_normal(features)
    columns = np.logspace(0.0, -0.5 * np.log10(condition), features)
    parts = []
    for scale in np.logspace(0.0, 0.5 * np.log10(spread), ranks):
        a = scale * columns * rng.standard_normal((rows, features))
        parts.append(RankRows(a, a @ truth + NOISE * scale * rng.standard_normal(rows)))
    return parts
