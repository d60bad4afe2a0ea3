"""Short floats of 16 bits by stochastic rounding: what float16 and bfloat16 have in common.

Stochastic rounding to bfloat16, the upper half of a float32 (Gupta et al. 2015 for stochastic rounding).

Stochastic rounding to IEEE binary16 (Gupta, Agrawal, Gopalakrishnan, Narayanan 2015 for stochastic rounding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.compress.compressors.base import Compressor, Vector, Wire
from mpiopt.compress.compressors.header import HEADER, closed, opened
from mpiopt.kernels import stochastic_rounding


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
        k = stochastic_rounding.exponent(x)
        symbols = np.empty(x.size, "<u2")
        stochastic_rounding.to_short(x, *stochastic_rounding.factors(-k), self.mantissa, self.one, seed, symbols)
        return closed(k, symbols)

    def decode(self, wire: Wire, d: int) -> Vector:
        """Give the short floats."""
        k, rest = opened(self.name, wire, d, HEADER + 2 * d)
        x = np.empty(d)
        stochastic_rounding.from_short(rest.view("<u2"), *stochastic_rounding.factors(k), self.mantissa, self.one, x)
        return x

    def variance(self, d: int) -> float:
        """Give (ε/(2 + ε))² + (d/4) (least step)²."""
        epsilon, step = 2.0**-self.mantissa, 2.0 ** (1 - self.one - self.mantissa)
        return (epsilon / (2.0 + epsilon)) ** 2 + d / 4.0 * step**2 if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give header and 2 d."""
        return HEADER + 2.0 * d


@dataclass(frozen=True)
class Bfloat16(Short):
    """C(x)_i = x_i rounded at random to a neighbouring bfloat16 (stochastic rounding: Gupta et al. 2015).

    ω = (ε/(2 + ε))² with ε = 2⁻⁷: 1.5e-5, attained by vectors of ± (1 + ε/2) 2ᵉ.

    Wire: int16 k; 2⁻ᵏ x_i as bfloat16, 16 bits a coordinate; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.
    """

    name = "bfloat16"
    mantissa = 7
    one = 127


@dataclass(frozen=True)
class Float16(Short):
    """C(x)_i = x_i rounded at random to a neighbouring float16 (stochastic rounding: Gupta et al. 2015).

    ω = (ε/(2 + ε))² + (d/4) 4⁻³⁸ with ε = 2⁻¹⁰: 2.4e-7, attained by vectors of ± (1 + ε/2) 2ᵉ.

    Wire: int16 k; 2¹⁴⁻ᵏ x_i as binary16, 16 bits a coordinate; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.
    """

    name = "float16"
    mantissa = 10
    one = 29
