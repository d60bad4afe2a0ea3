"""Short floats of 16 bits by stochastic rounding: what float16 and bfloat16 have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.compressors import Compressor, Vector, Wire
from mpiopt.compressors.header import HEADER, closed, opened
from mpiopt.kernels import rounding


@dataclass(frozen=True)
class Short(Compressor):
    """C(x)_i = x_i rounded to one of its two neighbours among the short floats, so that the mean is x_i.

    The vector is scaled by a power of two, so nothing overflows and only what is far below the largest |x_i| gets
    fewer digits.
    """

    unbiased = True

    mantissa: ClassVar[int]  # bits
    one: ClassVar[int]  # the exponent field of numbers in [1, 2) after scaling

    def encode(self, x: Vector, seed: int) -> Wire:
        """Give exponent and short floats."""
        k = rounding.exponent(x)
        symbols = np.empty(x.size, "<u2")
        rounding.to_short(x, *rounding.factors(-k), self.mantissa, self.one, seed, symbols)
        return closed(k, symbols)

    def decode(self, wire: Wire, d: int) -> Vector:
        """Give the short floats."""
        k, rest = opened(self.name, wire, d, HEADER + 2 * d)
        x = np.empty(d)
        rounding.from_short(rest.view("<u2"), *rounding.factors(k), self.mantissa, self.one, x)
        return x

    def variance(self, d: int) -> float:
        """Give (ε/(2 + ε))² + (d/4) (least step)²."""
        epsilon, step = 2.0**-self.mantissa, 2.0 ** (1 - self.one - self.mantissa)
        return (epsilon / (2.0 + epsilon)) ** 2 + d / 4.0 * step**2 if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give header and 2 d."""
        return HEADER + 2.0 * d
