"""Signs with the mean magnitude (Bernstein, Wang, Azizzadenesheli, Anandkumar 2018; Karimireddy et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Compressor, Vector, Wire
from mpiopt.compress.compressors.header import HEADER, closed, opened
from mpiopt.kernels import stochastic_rounding

MEAN = 8  # bytes


@dataclass(frozen=True)
class Sign(Compressor):
    """C(x)_i = ± ‖x‖₁/d, with the sign of x_i, a random one for 0 (Karimireddy, Rebjock, Stich, Jaggi 2019).

    Differences of sparse models have many zeros; one sign for all of them would be a drift.

    ‖C(x) - x‖² = ‖x‖² - ‖x‖₁²/d <= ω ‖x‖², ω = 1 - 1/d, attained by vectors of one coordinate.

    Wire: int16 k; the mean of 2⁻ᵏ |x_i| as float64; a bit a coordinate, 1 for negative, the least significant first.
    """

    name = "sign"
    unbiased = False

    def encode(self, x: Vector, seed: int) -> Wire:
        """Give mean and signs."""
        k = stochastic_rounding.exponent(x)
        mean = stochastic_rounding.magnitudes(x, *stochastic_rounding.factors(-k)) / max(x.size, 1)
        negative = x < 0
        stochastic_rounding.random_where_zero(x, seed, negative)
        return closed(k, np.array([mean], "<f8"), np.packbits(negative, bitorder="little"))

    def decode(self, wire: Wire, d: int) -> Vector:
        """Give ± the mean."""
        k, rest = opened(self.name, wire, d, int(self.nbytes(d)))
        a, b = stochastic_rounding.factors(k)
        mean = rest[:MEAN].view("<f8")[0] * a * b
        negative = np.unpackbits(rest[MEAN:], count=d, bitorder="little")
        x = np.empty(d)
        stochastic_rounding.signed(negative, mean, x)
        return x

    def variance(self, d: int) -> float:
        """Give 1 - 1/d; 0 for nothing."""
        return 1.0 - 1.0 / d if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give header, mean and signs."""
        return float(HEADER + MEAN + (d + 7) // 8)
