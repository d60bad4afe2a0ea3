"""Finite-time exact ratio consensus in float64 (T. Charalambous et al. 2015; Jiang et al., arXiv 2107.02019).

Rank j records its own y_j(0), y_j(1), … in one run. The differences y(t+1) - y(t) satisfy a linear recurrence. Its
coefficients β are the null vector of the first singular Hankel matrix of the differences; they depend only on the
graph and the rank. In every later run Σ_i β_i y_j(i) / Σ_i β_i x_j(i) is the mean, after one round fewer than β has
coefficients.

In float64 the null vector soon becomes inaccurate: beyond about ten ranks digits are lost (benchmarks/coordinators.py
measures it). The coordinator measures its error once for each graph. The value is linear in the ranks' numbers,
Σ_k a_k x_k, so that a run on the unit vectors shows a, and Σ_k |a_k - 1/n| plus a bound on rounding bounds the error
for all numbers. If the bound exceeds the tolerance on one rank, all ranks use another coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mpiopt.consensus.coordinators.base import Array, Coordinator, Estimate, Protocol, RankView, Vector
from mpiopt.consensus.coordinators.max_consensus import finite, maximum
from mpiopt.core.rng import generator

PROBE_STREAM = 41  # of the random numbers in the first run
SINGULAR = 1e-13  # a Hankel matrix is singular if its smallest singular value is below this part of its largest
TINY = 1e-290  # below it products lose digits: errors are relative to numbers of at least this size


class HankelRecurrence(NamedTuple):
    """What a rank learned of a graph."""

    coefficients: Vector  # β / Σ β_i x(i)
    longest: int  # the largest number of coefficients of any rank
    error: float  # the largest of any rank, as in `Estimate`
    fallback: Any  # what the fallback coordinator learned, if it is used


@dataclass(frozen=True)
class Hankel(Coordinator):
    """Finite-time exact ratio consensus in float64; measures its own error and switches to `fallback`.

    A sum takes at most size - 1 + D rounds. The last D are max-consensus: they show that all ranks agree, and all
    take the middle of the ranks' values. A message holds y, float64.

    Parameters
    ----------
    tolerance
        Largest error that is accepted, relative to the largest number of any rank.
    fallback
        Coordinator that is used if the error exceeds the tolerance.
    """

    name = "hankel"

    tolerance: float = 1e-9
    fallback: str = "finite-field"

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be above 0, not {self.tolerance}")
        if self.fallback == self.name:
            raise ValueError("hankel cannot be its own fallback; choose finite-field, flooding, ratio or quantised")

    def fallback_coordinator(self) -> Coordinator:
        """Return the coordinator that is used if the error exceeds the tolerance."""
        return Coordinator.make(self.fallback)

    def learn(self, view: RankView, seed: int) -> Protocol[HankelRecurrence]:
        """Record a run on random numbers for 2 size rounds, and try the coefficients on the unit vectors."""
        probe = generator(seed, PROBE_STREAM, 0, view.rank).standard_normal()
        recorded, _ = yield from _recorded_run(np.array([probe, 1.0]), 2 * view.size, view)
        beta = null_vector(np.diff(recorded[:, 0]))
        beta = beta / (beta @ recorded[: beta.size, 1])
        longest = int((yield from maximum(np.array([beta.size]), view))[0])
        error = yield from _measured_error(beta, longest, view)
        worst = float((yield from maximum(np.array([error]), view))[0])
        fallback = None if worst <= self.tolerance else (yield from self.fallback_coordinator().learn(view, seed))
        return HankelRecurrence(beta, longest, worst, fallback)

    def sum(self, x: Vector, divisor: int, view: RankView, learned: HankelRecurrence) -> Protocol[Estimate]:
        """Combine y(0), y(1), …; then do max-consensus of the value, its negative, and |x|."""
        if not learned.error <= self.tolerance:
            return (yield from self.fallback_coordinator().sum(x, divisor, view, learned.fallback))
        recorded, _ = yield from _recorded_run(x, learned.longest - 1, view)
        value = _combined(learned.coefficients, recorded)
        agreed = yield from maximum(np.concatenate([value, -value, np.abs(x)]), view)
        high, low, scale = np.split(finite(agreed), 3)
        # Each rank is within `error` of the mean. If two ranks are further apart, messages were lost.
        if np.any(high + low > 2.0 * learned.error * np.maximum(scale, TINY)):
            raise RuntimeError("the ranks computed different means: a message was lost, or the graph has changed")
        with np.errstate(over="ignore"):
            middle = (0.5 * high - 0.5 * low) * (view.size / divisor)
        return Estimate(finite(middle), learned.error, self.name)

    def rounds(self, view: RankView, learned: HankelRecurrence) -> int | None:
        """Return the largest number of coefficients of any rank, less 1, plus D."""
        if not learned.error <= self.tolerance:
            return self.fallback_coordinator().rounds(view, learned.fallback)
        return learned.longest - 1 + view.diameter


def _recorded_run(start: Vector, rounds: int, view: RankView) -> Protocol[tuple[Vector, int]]:
    """Return this rank's y(0) … y(rounds) of y ← P y, as rows, and its in-degree."""
    share, recorded, degree = 1.0 / (1 + view.outdegree), [start], 0
    for _ in range(rounds):
        received: list[Array] = yield share * recorded[-1]
        degree = len(received)
        with np.errstate(over="ignore", invalid="ignore"):  # must not enclose a yield: it would act on other code
            recorded.append(np.add.reduce([share * recorded[-1], *received]))
    return np.array(recorded), degree


def _combined(coefficients: Vector, recorded: Vector) -> Vector:
    """Return Σ_i coefficient_i recorded_i."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("i,ij->j", coefficients, recorded[: coefficients.size]))


def null_vector(differences: Vector) -> Vector:
    """Return the null vector of the first Hankel matrix of a sequence that is singular to rounding."""
    right = np.ones((1, 1))
    for size in range(1, (len(differences) + 1) // 2 + 1):
        matrix = differences[np.add.outer(np.arange(size), np.arange(size))]
        _, sizes, right = np.linalg.svd(matrix)
        if sizes[-1] <= SINGULAR * sizes[0]:
            break
    return np.asarray(right[-1])


def _measured_error(beta: Vector, longest: int, view: RankView) -> Protocol[float]:
    """Return Σ_k |a_k - 1/n| of this rank plus a bound on what rounding adds in any run."""
    start = np.concatenate([np.eye(view.size)[view.rank], [1.0]])
    recorded, degree = yield from _recorded_run(start, longest - 1, view)
    recorded = recorded[: beta.size]
    row = _combined(beta, recorded[:, :-1])
    # y(t) has an error of at most t (degree + 2) u x(t), u the unit of rounding, and so has Σ β_i y(i).
    steps = np.arange(beta.size) * (degree + 2) + beta.size + 2
    rounding = 2.0**-52 * float(np.abs(beta) @ (steps * recorded[:, -1]))
    return float(np.abs(row - 1.0 / view.size).sum() + rounding)
