"""The data of the study: f_i(x) = ‖A_i x − b_i‖²/(2m) on every rank, with L_i from 1 to the spread on a log scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.job import at_least

Vector = NDArray[np.float64]
Part = tuple[Vector, Vector]  # A_i (rows, features) and b_i of a rank
NOISE = 0.1  # of the right-hand sides, in units of the rank's scale


def check_sizes(rows: int, features: int, condition: float) -> None:
    """Refuse sizes of which no such data can be made."""
    at_least("rows", rows, 2)
    at_least("features", features, 1)
    at_least("condition", condition, 1)
    if rows < features:
        raise ValueError(f"rows must be at least features, {features}, not {rows}")


@dataclass(frozen=True, eq=False)
class SyntheticRegression:
    """Curvatures and right-hand sides: ∇f_i(x) = H_i x − c_i; F is the mean of the f_i."""

    h: NDArray[np.float64]  # (n, d, d)
    c: NDArray[np.float64]  # (n, d)

    def __post_init__(self) -> None:
        mean, right = self.h.mean(axis=0), self.c.mean(axis=0)
        object.__setattr__(self, "_whole", (mean, np.linalg.solve(mean, right)))

    @property
    def limits(self) -> Vector:
        """L_i of each rank."""
        return np.asarray(np.linalg.eigvalsh(self.h)[:, -1])

    @property
    def smoothness(self) -> float:
        """L of F."""
        return float(np.linalg.eigvalsh(self.h.mean(axis=0))[-1])

    @property
    def safe_alpha(self) -> float:
        """2/(mean L_i · mean 1/L_i): below it the mean of the steps 1/L_i is safe where curvatures are isotropic."""
        limits = self.limits
        return float(2.0 / (limits.mean() * (1.0 / limits).mean()))

    def gradient(self, rank: int, x: Vector) -> Vector:
        """Give ∇f_i(x)."""
        return np.asarray(self.h[rank] @ x - self.c[rank])

    def gap(self, x: Vector) -> float:
        """Give (F(x) − F*)/(F(0) − F*), from the distances to the optimum, thus exact near it."""
        mean, best = self._whole  # type: ignore[attr-defined]
        with np.errstate(over="ignore", invalid="ignore"):
            return float((x - best) @ mean @ (x - best) / (best @ mean @ best))


def make(
    ranks: int, rows: int, features: int, condition: float, spreads: Iterable[float], seed: int
) -> dict[float, SyntheticRegression]:
    """Make one problem for each spread, one after the other from one generator."""
    rng = np.random.default_rng(seed)
    return {spread: one(ranks, rows, features, condition, spread, rng) for spread in spreads}


def one(
    ranks: int, rows: int, features: int, condition: float, spread: float, rng: np.random.Generator
) -> SyntheticRegression:
    """Make a problem."""
    return whole(data(ranks, rows, features, condition, spread, rng))


def whole(parts: Sequence[Part]) -> SyntheticRegression:
    """Give curvatures and right-hand sides of the ranks' rows."""
    return SyntheticRegression(
        np.array([a.T @ a / len(a) for a, _ in parts]), np.array([a.T @ b / len(a) for a, b in parts])
    )


def data(
    ranks: int, rows: int, features: int, condition: float, spread: float, rng: np.random.Generator
) -> list[Part]:
    """Make the rows of each rank; columns shrink so that their curvature has the condition."""
    truth = rng.standard_normal(features)
    columns = np.logspace(0.0, -0.5 * np.log10(condition), features)
    found = []
    for scale in np.logspace(0.0, 0.5 * np.log10(spread), ranks):
        a = scale * columns * rng.standard_normal((rows, features))
        found.append((a, a @ truth + NOISE * scale * rng.standard_normal(rows)))
    return found
