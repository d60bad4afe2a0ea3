"""Sums of numbers without rounding: the same bits in any order and on any number of ranks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.shard import Vector

LOW_BITS = 26  # of a mantissa of 53 bits; two sums of integers hold both parts exactly up to 2^36 rows
FIRST = -1080  # below every exponent of a float64
EXPONENTS = 2112


class ExactSum:
    """A sum of float64 numbers, kept as integers for each exponent."""

    def __init__(self) -> None:
        self.parts, self.count = np.zeros((2, EXPONENTS), np.int64), 0

    def add(self, x: Vector) -> None:
        """Add finite numbers."""
        self.count += len(x)
        mantissa, exponent = np.frexp(x)
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        place = exponent - FIRST
        for row, part in enumerate((whole >> LOW_BITS, whole & ((1 << LOW_BITS) - 1))):
            self.parts[row] += np.bincount(place, weights=part, minlength=EXPONENTS).astype(np.int64)

    def over_ranks(self, comm: Comm) -> Fraction:
        """Return the sum over all ranks; collective."""
        high, low = comm.sum(self.parts)
        total = Fraction(0)
        for place in np.flatnonzero(high | low):
            whole = int(high[place]) * (1 << LOW_BITS) + int(low[place])
            total += whole * Fraction(2) ** (int(place) + FIRST - 53)
        return total
