"""Finite-time exact ratio consensus in a finite field: the only rounding is that of the result.

The iteration is that of ratio consensus, on integers modulo p = 2⁶¹ - 1 with weights 1/(1 + out-degree) mod p. A rank
computes the linear recurrence q of its own sequence from 2 n terms (E. Berlekamp 1968; J. Massey 1969); q(1) = 0.
With β = q/(t - 1), n Σ_i β_i y(i) / Σ_i β_i x(i) is the sum of all numbers modulo p, and so the sum itself if it is
below p/2. Float64 numbers are cut into digits, and each digit is summed in this way. A digit has so few bits that
sums stay below p/2.

The recurrence is learned from random numbers. It fails for other numbers with a probability below n/p < 10⁻¹⁶. Each
call tests it on the numbers themselves with one more term, and thereby also notices lost messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.consensus.coordinators.base import Coordinator, Estimate, Protocol, RankView, Vector
from mpiopt.consensus.coordinators.max_consensus import NOT_FINITE, finite, maximum, require_finite_ranks
from mpiopt.core.rng import generator
from mpiopt.kernels.fixed_point import Exponents, join, places, split
from mpiopt.kernels.prime_field import P, Residues, add, add_multiple, from_residues, multiple, to_residues

PROBE_STREAM = 42  # of the random numbers in the first run
FIELD_BITS = 60  # size · 2^bits < p/2 holds for digits of FIELD_BITS - bit length of size


class FieldRecurrence(NamedTuple):
    """What a rank learned of a graph."""

    coefficients: tuple[int, ...]  # Σ_i coefficient_i y(i) is the sum of all ranks' numbers
    recurrence: tuple[int, ...]  # Σ_i recurrence_i y(i) is 0; one term more
    longest: int  # the largest number of coefficients of any rank


class DigitGrid(NamedTuple):
    """How numbers are cut into digits: multiples of 2^bottom, `digits` digits of `bits` bits."""

    bottom: Exponents  # (d,)
    bits: int
    digits: int
    exact: bool  # no number of any rank is rounded


@dataclass(frozen=True)
class FiniteField(Coordinator):
    """The exact sum, rounded once to nearest: at most size + D rounds, for any number of ranks.

    A message holds two int16 for each number while the ranks agree on the digits' places, then (digits, d) uint64.

    Parameters
    ----------
    digits
        0: as many digits as exactness requires (two where magnitudes are alike). k: at most k digits; numbers are
        then rounded to multiples of 2^(-b k) of the largest, b = 60 - bits of size, and summed exactly.
    """

    name = "finite-field"
    exact = True

    digits: int = 0

    def __post_init__(self) -> None:
        if self.digits < 0:
            raise ValueError(f"digits must be at least 1, or 0 for as many as are needed, not {self.digits}")

    def learn(self, view: RankView, seed: int) -> Protocol[FieldRecurrence]:
        """Record a run on random residues for 2 size rounds, then find the longest recurrence in D rounds."""
        probe = int(generator(seed, PROBE_STREAM, 0, view.rank).integers(1, P))
        values, ones = [], []
        y = np.array([probe, 1], np.uint64)
        for _ in range(2 * view.size):
            values.append(int(y[0]))
            ones.append(int(y[1]))
            y = yield from _round(y, view)
        recurrence = shortest_recurrence(values)
        learned = _summing(recurrence, ones, view.size)
        longest = int((yield from maximum(np.array([len(recurrence) - 1]), view))[0])
        return learned._replace(longest=longest)

    def sum(self, x: Vector, divisor: int, view: RankView, learned: FieldRecurrence) -> Protocol[Estimate]:
        """Agree on the digits in D rounds; then sum them in learned.longest rounds."""
        grid = yield from self._grid(x, view)
        y = to_residues(split(x, grid.bottom, grid.bits, grid.digits).reshape(-1))
        total, test = np.zeros_like(y), np.zeros_like(y)
        for t in range(learned.longest + 1):
            if t < len(learned.coefficients):
                add_multiple(y, learned.coefficients[t], total)
            if t < len(learned.recurrence):
                add_multiple(y, learned.recurrence[t], test)
            if t < learned.longest:
                y = yield from _round(y, view)
        if test.any():
            raise RuntimeError("the recurrence does not hold: a message was lost, or the graph has changed")
        sums = from_residues(total).reshape(grid.digits, -1)
        error = 2.0**-53 if grid.exact else 2.0**-52 + 2.0 ** (1 - grid.bits * grid.digits)
        return Estimate(finite(join(sums, grid.bottom, grid.bits, divisor)), error, self.name)

    def _grid(self, x: Vector, view: RankView) -> Protocol[DigitGrid]:
        """Agree on the digits that hold the numbers of all ranks."""
        top, bottom = places(np.where(np.isfinite(x), x, 0.0))
        top[~np.isfinite(x)] = NOT_FINITE
        agreed = yield from maximum(np.concatenate([top, -bottom]).astype(np.int16), view)
        require_finite_ranks(agreed)
        top, bottom = np.split(agreed.astype(np.int64) * np.repeat([1, -1], x.size), 2)
        bits = FIELD_BITS - view.size.bit_length()
        needed = max(1, -(-int(np.max(top - bottom, initial=0)) // bits))
        if not 0 < self.digits < needed:
            return DigitGrid(bottom, bits, needed, True)
        return DigitGrid(np.maximum(bottom, top - self.digits * bits), bits, self.digits, False)

    def rounds(self, view: RankView, learned: FieldRecurrence) -> int:
        """Return D plus the degree of the longest recurrence, at most size."""
        return view.diameter + learned.longest


def _round(y: Residues, view: RankView) -> Protocol[Residues]:
    """Send this rank's share of y to all out-neighbours; return the sum of what it kept and received."""
    share = multiple(y, pow(1 + view.outdegree, -1, P))
    received = yield share
    total = share.copy()
    for message in received:
        add(message, total)
    return total


def shortest_recurrence(sequence: Sequence[int]) -> tuple[int, ...]:
    """Return q of least degree L, with q_L = 1 and Σ_{i<=L} q_i s(t + i) = 0 mod p for all t (Berlekamp, Massey)."""
    current, former = [1], [1]
    length, gap, former_miss = 0, 1, 1
    for t in range(len(sequence)):
        miss = sum(c * sequence[t - i] for i, c in enumerate(current[: length + 1])) % P
        if miss == 0:
            gap += 1
            continue
        factor = miss * pow(former_miss, -1, P) % P
        corrected = current + [0] * (len(former) + gap - len(current))
        for i, c in enumerate(former):
            corrected[i + gap] = (corrected[i + gap] - factor * c) % P
        if 2 * length <= t:
            length, former, former_miss, gap = t + 1 - length, current, miss, 0
        current, gap = corrected, gap + 1
    padded = current[: length + 1] + [0] * (length + 1 - len(current))
    return tuple(reversed(padded))


def _summing(recurrence: tuple[int, ...], ones: Sequence[int], size: int) -> FieldRecurrence:
    """Divide the recurrence by t - 1, and scale it so that a run on ones (size of them) gives `size`."""
    if sum(recurrence) % P or len(recurrence) - 1 > size:
        raise RuntimeError("the sequence is not that of a graph: a message was lost while the graph was learned")
    beta, total = [0] * (len(recurrence) - 1), 0
    for i in range(len(recurrence) - 1, 0, -1):
        total = (total + recurrence[i]) % P
        beta[i - 1] = total
    scale = sum(b * one for b, one in zip(beta, ones, strict=False)) % P
    if scale == 0:  # with probability 1/p
        raise RuntimeError("consensus failed for the random numbers of this seed; try another seed")
    factor = size * pow(scale, -1, P) % P
    return FieldRecurrence(tuple(b * factor % P for b in beta), recurrence, len(beta))
