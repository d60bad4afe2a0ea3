"""Partial participation: all of the vector or nothing (Philippenko, Dieuleveut 2020, 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Compressor, Vector, Wire, check_share
from mpiopt.compress.compressors.header import HEADER, closed, opened
from mpiopt.kernels import random_subsets, stochastic_rounding


@dataclass(frozen=True)
class Participation(Compressor):
    """C(x) = x/p with probability p = share, else 0: all or nothing (Philippenko, Dieuleveut 2024).

    ω = (1 - p)/p for every x. E[C(x) C(x)ᵀ] = M/p.

    Wire: no byte where nothing is sent; else int16 k and x 2⁻ᵏ as float32, with 1 <= max |x_i| 2⁻ᵏ < 2. 32 p bits a
    coordinate on average.
    """

    name = "participation"
    unbiased = True

    share: float = 0.5

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def encode(self, x: Vector, seed: int) -> Wire:
        """Give all or nothing."""
        if random_subsets.count(1, seed, self.share) == 0:
            return np.empty(0, np.uint8)
        k = stochastic_rounding.exponent(x)
        a, b = stochastic_rounding.factors(-k)
        return closed(k, (x * a * b).astype("<f4"))

    def decode(self, wire: Wire, d: int) -> Vector:
        """Give x/p or zeros."""
        if wire.size == 0:
            return np.zeros(d)
        k, rest = opened(self.name, wire, d, HEADER + 4 * d)
        a, b = stochastic_rounding.factors(k)
        return rest.view("<f4").astype(np.float64) * (a / self.share) * b

    def variance(self, d: int) -> float:
        """Give (1 - p)/p; 0 for nothing."""
        return (1.0 - self.share) / self.share if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give the mean: p times header and numbers."""
        return self.share * (HEADER + 4.0 * d)

    def second_moment(self, m: Vector) -> Vector:
        """Give M/p."""
        return m / self.share
