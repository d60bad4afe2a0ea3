"""Finite-time exact ratio consensus in a finite field: no rounding anywhere, until the result is rounded once.

The iteration of ratio consensus, on whole numbers modulo p = 2⁶¹ - 1 with weights 1/(1 + out-degree) mod p. A rank
finds the recurrence q of its own sequence from 2 n terms (Berlekamp 1968; Massey 1969), q(1) = 0; with β = q/(t - 1),
n Σ_i β_i y(i) / Σ_i β_i x(i) is the sum of all numbers modulo p, thus the sum itself while it is below p/2. Float64
numbers are cut into digits, each digit summed so; digits are few enough bits that sums stay below p/2.

The recurrence was learned from random numbers: it misses another one's with a probability below n/p < 10⁻¹⁶. Each
call tests it on the numbers themselves, one round more, and so notices messages that were lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.consensus.coordinators.base import Coordinator, Estimate, Protocol, Site, Vector
from mpiopt.consensus.coordinators.max_consensus import UNFIT, finite, maximum, refuse_unfit
from mpiopt.core.rng import generator
from mpiopt.kernels.fixed_point import Exponents, join, places, split
from mpiopt.kernels.prime_field import P, Residues, add, add_multiple, from_residues, multiple, to_residues

STREAM = 42  # of the probe's randomness


class FieldRecurrence(NamedTuple):
    """What a rank keeps of a graph."""

    coefficients: tuple[int, ...]  # Σ_i coefficient_i y(i) is the sum of all ranks' numbers
    recurrence: tuple[int, ...]  # Σ_i recurrence_i y(i) is 0; one term more
    longest: int  # terms of the recurrence, less 1, of the rank that has most


class Grid(NamedTuple):
    """How numbers are cut into digits: multiples of 2^bottom, `words` digits of `bits` bits."""

    bottom: Exponents
    bits: int
    words: int
    exact: bool  # no number of any rank is rounded


@dataclass(frozen=True)
class FiniteField(Coordinator):
    """The exact sum, rounded once to nearest: at most size + D rounds, any size; scalars and vectors alike.

    digits=0: as many words a number as exactness asks for (two where magnitudes are alike). With digits=k at most k;
    then numbers are rounded to multiples of 2^(-b k) of the greatest, b = 60 - bits of size, and summed exactly.
    Message: to agree on the digits' places, two int16 a number; then the digits, (digits, d) uint64.
    """

    name = "finite-field"
    exact = True

    digits: int = 0

    def __post_init__(self) -> None:
        if self.digits < 0:
            raise ValueError(f"digits must be at least 1, or 0 for as many as are needed, not {self.digits}")

    def learn(self, site: Site, seed: int) -> Protocol[FieldRecurrence]:
        """Watch a run of random residues for 2 size rounds, then D rounds for the longest recurrence."""
        probe = int(generator(seed, STREAM, 0, site.rank).integers(1, P))
        seen: list[tuple[int, int]] = []
        y = np.array([probe, 1], np.uint64)
        for _ in range(2 * site.size):
            seen.append((int(y[0]), int(y[1])))
            y = yield from _step(y, site)
        recurrence = shortest_recurrence([value for value, _ in seen])
        learned = _read(recurrence, [one for _, one in seen], site.size)
        longest = int((yield from maximum(np.array([len(recurrence) - 1]), site))[0])
        return learned._replace(longest=longest)

    def sum(self, x: Vector, divisor: int, site: Site, learned: FieldRecurrence) -> Protocol[Estimate]:
        """Agree on the grid, D rounds; then learned.longest rounds."""
        grid = yield from self._grid(x, site)
        y = to_residues(split(x, grid.bottom, grid.bits, grid.words).reshape(-1))
        total, test = np.zeros_like(y), np.zeros_like(y)
        for t in range(learned.longest + 1):
            if t < len(learned.coefficients):
                add_multiple(y, learned.coefficients[t], total)
            if t < len(learned.recurrence):
                add_multiple(y, learned.recurrence[t], test)
            if t < learned.longest:
                y = yield from _step(y, site)
        if test.any():
            raise RuntimeError("the recurrence does not hold: a message was lost, or the graph has changed")
        sums = from_residues(total).reshape(grid.words, -1)
        error = 2.0**-53 if grid.exact else 2.0**-52 + 2.0 ** (1 - grid.bits * grid.words)
        return Estimate(finite(join(sums, grid.bottom, grid.bits, divisor)), error, self.name)

    def _grid(self, x: Vector, site: Site) -> Protocol[Grid]:
        top, bottom = places(np.where(np.isfinite(x), x, 0.0))
        top[~np.isfinite(x)] = UNFIT
        agreed = yield from maximum(np.concatenate([top, -bottom]).astype(np.int16), site)
        refuse_unfit(agreed)
        top, bottom = np.split(agreed.astype(np.int64) * np.repeat([1, -1], x.size), 2)
        bits = 60 - site.size.bit_length()  # size · 2^bits < p/2
        needed = max(1, -(-int(np.max(top - bottom, initial=0)) // bits))
        if not 0 < self.digits < needed:
            return Grid(bottom, bits, needed, True)
        return Grid(np.maximum(bottom, top - self.digits * bits), bits, self.digits, False)

    def rounds(self, site: Site, learned: FieldRecurrence) -> int:
        """D and the degree of the longest recurrence, at most size."""
        return site.diameter + learned.longest


def _step(y: Residues, site: Site) -> Protocol[Residues]:
    share = multiple(y, pow(1 + site.outdegree, -1, P))
    received = yield share
    total = share.copy()
    for message in received:
        add(message, total)
    return total


def shortest_recurrence(sequence: Sequence[int]) -> tuple[int, ...]:
    """Give q, of least degree L and q_L = 1, with Σ_{i<=L} q_i s(t + i) = 0 mod p for all t (Berlekamp, Massey)."""
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


def _read(recurrence: tuple[int, ...], ones: Sequence[int], size: int) -> FieldRecurrence:
    """Divide the recurrence by t - 1, and by what a run on ones gives, so that `size` comes out of it."""
    if sum(recurrence) % P or len(recurrence) - 1 > size:
        raise RuntimeError("this is no recurrence of a graph: a message was lost while it was learned")
    beta, total = [0] * (len(recurrence) - 1), 0
    for i in range(len(recurrence) - 1, 0, -1):
        total = (total + recurrence[i]) % P
        beta[i - 1] = total
    found = sum(b * one for b, one in zip(beta, ones, strict=False)) % P
    if found == 0:  # with a probability of 1/p
        raise RuntimeError("the recurrence says nothing of the sum; another seed will do")
    factor = size * pow(found, -1, P) % P
    return FieldRecurrence(tuple(b * factor % P for b in beta), recurrence, len(beta))
