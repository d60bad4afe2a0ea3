"""Finite-time exact ratio consensus, the textbook form (Charalambous et al. 2015; Jiang et al., arXiv 2107.02019).

Rank j watches its own y_j(0), y_j(1), … of one run. The differences y(t+1) - y(t) satisfy a linear recurrence; its
coefficients β are the kernel of the first singular Hankel matrix of the differences, and depend on the graph and the
rank alone. From then on Σ_i β_i y_j(i) / Σ_i β_i x_j(i) is the mean after as many rounds as β has coefficients, less
one.

In float64 the kernel is soon wrong: beyond about ten ranks digits are lost (measured in jobs/README.md). How many is
measured too, once, here: the value is linear in the ranks' numbers, Σ_k a_k x_k, so that a run on the unit vectors
shows a, and Σ_k |a_k - 1/n| with a bound on rounding is the worst error for any numbers. Where that is above the
tolerance on one rank, all take another coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mpiopt.consensus.coordinators.base import Array, Coordinator, Estimate, Protocol, Site, Vector
from mpiopt.consensus.coordinators.max_consensus import finite, maximum
from mpiopt.core.rng import generator

STREAM = 41  # of the probe's randomness
TINY = 1e-290  # below, products lose digits: errors are relative to numbers of at least this size


class HankelRecurrence(NamedTuple):
    """What a rank keeps of a graph."""

    coefficients: Vector  # β / Σ β_i x(i)
    longest: int  # coefficients of the rank that has most
    error: float  # the worst of all ranks, as in `Estimate`
    other: Any  # what the coordinator that stands in learned, if it does


@dataclass(frozen=True)
class Hankel(Coordinator):
    """Finite-time exact ratio consensus with float64 kernels; measures its own error and gives way to `fallback`.

    At most size - 1 + D rounds: then D of max-consensus, which show that all ranks agree and take the middle.
    Message: y, float64.
    """

    name = "hankel"

    tolerance: float = 1e-9
    rank_tolerance: float = 1e-13
    fallback: str = "finite-field"

    def __post_init__(self) -> None:
        if not (self.tolerance > 0 and self.rank_tolerance > 0):
            raise ValueError(f"tolerances must be positive, not {self.tolerance} and {self.rank_tolerance}")
        if self.fallback == self.name:
            raise ValueError("hankel cannot stand in for itself; fallback: finite-field, flooding, ratio, quantised")

    def other(self) -> Coordinator:
        """Give the coordinator that stands in."""
        return Coordinator.make(self.fallback)

    def learn(self, site: Site, seed: int) -> Protocol[HankelRecurrence]:
        """Watch a run of random numbers for 2 size rounds; try the coefficients on the unit vectors."""
        other = self.other()
        probe = generator(seed, STREAM, 0, site.rank).standard_normal()
        seen, _ = yield from _watch(np.array([probe, 1.0]), 2 * site.size, site)
        beta = kernel(np.diff(seen[:, 0]), self.rank_tolerance)
        beta = beta / (beta @ seen[: beta.size, 1])
        longest = int((yield from maximum(np.array([beta.size]), site))[0])
        error = yield from _measured(beta, longest, site)
        worst = float((yield from maximum(np.array([error]), site))[0])
        stands_in = None if worst <= self.tolerance else (yield from other.learn(site, seed))
        return HankelRecurrence(beta, longest, worst, stands_in)

    def sum(self, x: Vector, divisor: int, site: Site, learned: HankelRecurrence) -> Protocol[Estimate]:
        """Combine y(0), y(1), …; then max-consensus of the value, its negative, and |x|."""
        if not learned.error <= self.tolerance:
            return (yield from self.other().sum(x, divisor, site, learned.other))
        seen, _ = yield from _watch(x, learned.longest - 1, site)
        value = _combined(learned.coefficients, seen)
        agreed = yield from maximum(np.concatenate([value, -value, np.abs(x)]), site)
        high, low, scale = np.split(finite(agreed), 3)
        # Each rank is within `error` of the mean; where they are further apart, messages were lost.
        if np.any(high + low > 2.0 * learned.error * np.maximum(scale, TINY)):
            raise RuntimeError("ranks came to different means: a message was lost, or the graph has changed")
        with np.errstate(over="ignore"):
            middle = (0.5 * high - 0.5 * low) * (site.size / divisor)
        return Estimate(finite(middle), learned.error, self.name)

    def rounds(self, site: Site, learned: HankelRecurrence) -> int | None:
        """Coefficients of the rank that has most, less 1, and D."""
        if not learned.error <= self.tolerance:
            return self.other().rounds(site, learned.other)
        return learned.longest - 1 + site.diameter


def _watch(start: Vector, rounds: int, site: Site) -> Protocol[tuple[Vector, int]]:
    """Give this rank's y(0) … y(rounds) of y <- P y, as rows, and its in-degree."""
    share, seen, degree = 1.0 / (1 + site.outdegree), [start], 0
    for _ in range(rounds):
        received: list[Array] = yield share * seen[-1]
        degree = len(received)
        with np.errstate(over="ignore", invalid="ignore"):  # never around a yield: it would hold elsewhere
            seen.append(np.add.reduce([share * seen[-1], *received]))
    return np.array(seen), degree


def _combined(coefficients: Vector, seen: Vector) -> Vector:
    """Give Σ_i coefficient_i seen_i."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("i,ij->j", coefficients, seen[: coefficients.size]))


def kernel(differences: Vector, tolerance: float) -> Vector:
    """Give the kernel of the first Hankel matrix of a sequence that is singular, to a tolerance of its norm."""
    right = np.ones((1, 1))
    for size in range(1, (len(differences) + 1) // 2 + 1):
        matrix = differences[np.add.outer(np.arange(size), np.arange(size))]
        _, sizes, right = np.linalg.svd(matrix)
        if sizes[-1] <= tolerance * sizes[0]:
            break
    return np.asarray(right[-1])


def _measured(beta: Vector, longest: int, site: Site) -> Protocol[float]:
    """Give Σ_k |a_k - 1/n| of this rank and a bound on what rounding adds in any run."""
    start = np.concatenate([np.eye(site.size)[site.rank], [1.0]])
    seen, degree = yield from _watch(start, longest - 1, site)
    seen = seen[: beta.size]
    row = _combined(beta, seen[:, :-1])
    # y(t) carries an error of at most t (degree + 2) u x(t), u the unit of rounding, and so does Σ β_i y(i).
    steps = np.arange(beta.size) * (degree + 2) + beta.size + 2
    rounding = 2.0**-52 * float(np.abs(beta) @ (steps * seen[:, -1]))
    return float(np.abs(row - 1.0 / site.size).sum() + rounding)
