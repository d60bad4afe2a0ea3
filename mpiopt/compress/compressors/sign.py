"""Signs with the mean magnitude."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Payload, Vector
from mpiopt.compress.compressors.header import HEADER, Parts, ScaledCompressor
from mpiopt.kernels import stochastic_rounding

MEAN = 8  # bytes


@dataclass(frozen=True)
class Sign(ScaledCompressor):
    """C(x)_i = ± ‖x‖₁/d, with the sign of x_i (Bernstein et al. 2018; Karimireddy, Rebjock, Stich, Jaggi 2019).

    A zero gets a random sign: differences of sparse models have many zeros, and one sign for all would be a drift.

    ‖C(x) - x‖² = ‖x‖² - ‖x‖₁²/d <= ω ‖x‖², ω = 1 - 1/d, attained by vectors of one coordinate.

    Wire format: int16 k; the mean of 2⁻ᵏ |x_i| as float64; a bit a coordinate, 1 for negative, the least significant
    first.
    """

    name = "sign"
    unbiased = False

    def encode_scaled(self, x: Vector, a: float, b: float, seed: int) -> Parts:
        """Return mean and signs."""
        mean = stochastic_rounding.magnitudes(x, a, b) / max(x.size, 1)
        negative = x < 0
        stochastic_rounding.random_where_zero(x, seed, negative)
        return np.array([mean], "<f8"), np.packbits(negative, bitorder="little")

    def decode_scaled(self, body: Payload, a: float, b: float, d: int) -> Vector:
        """Return ± the mean."""
        mean = body[:MEAN].view("<f8")[0] * a * b
        x = np.empty(d)
        stochastic_rounding.signed(np.unpackbits(body[MEAN:], count=d, bitorder="little"), mean, x)
        return x

    def variance(self, d: int) -> float:
        """Return 1 - 1/d; 0 for d = 0."""
        return 1.0 - 1.0 / d if d else 0.0

    def nbytes(self, d: int) -> float:
        """Return the bytes of header, mean and signs."""
        return float(HEADER + MEAN + (d + 7) // 8)
