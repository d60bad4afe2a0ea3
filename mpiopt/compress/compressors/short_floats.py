"""Floats of 16 bits by stochastic rounding: float16 and bfloat16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.compress.compressors.base import Payload, Vector
from mpiopt.compress.compressors.header import HEADER, Parts, ScaledCompressor
from mpiopt.kernels import stochastic_rounding


@dataclass(frozen=True)
class ShortFloat(ScaledCompressor):
    """C(x)_i = x_i rounded to one of its two neighbours among the short floats, without bias.

    The vector is scaled by a power of two. So nothing overflows, and only numbers far below the largest |x_i| get
    fewer digits.
    """

    unbiased = True

    mantissa: ClassVar[int]  # bits
    one: ClassVar[int]  # the exponent field of numbers in [1, 2) after scaling

    def encode_scaled(self, x: Vector, a: float, b: float, seed: int) -> Parts:
        """Return the short floats."""
        symbols = np.empty(x.size, "<u2")
        stochastic_rounding.to_short(x, a, b, self.mantissa, self.one, seed, symbols)
        return [symbols]

    def decode_scaled(self, body: Payload, a: float, b: float, d: int) -> Vector:
        """Return the short floats as float64."""
        x = np.empty(d)
        stochastic_rounding.from_short(body.view("<u2"), a, b, self.mantissa, self.one, x)
        return x

    def variance(self, d: int) -> float:
        """Return (ε/(2 + ε))² + (d/4) (least step)²."""
        epsilon, step = 2.0**-self.mantissa, 2.0 ** (1 - self.one - self.mantissa)
        return (epsilon / (2.0 + epsilon)) ** 2 + d / 4.0 * step**2 if d else 0.0

    def nbytes(self, d: int) -> float:
        """Return the bytes of header and numbers, 2 d."""
        return HEADER + 2.0 * d


@dataclass(frozen=True)
class Bfloat16(ShortFloat):
    """C(x)_i = x_i rounded at random to a neighbouring bfloat16, the upper half of a float32.

    Stochastic rounding: Gupta, Agrawal, Gopalakrishnan, Narayanan 2015.

    ω = (ε/(2 + ε))² with ε = 2⁻⁷: 1.5e-5, attained by vectors of ± (1 + ε/2) 2ᵉ.

    Wire format: int16 k; 2⁻ᵏ x_i as bfloat16, 16 bits a coordinate; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.
    """

    name = "bfloat16"
    mantissa = 7
    one = 127


@dataclass(frozen=True)
class Float16(ShortFloat):
    """C(x)_i = x_i rounded at random to a neighbouring float16, IEEE binary16.

    Stochastic rounding: Gupta, Agrawal, Gopalakrishnan, Narayanan 2015.

    ω = (ε/(2 + ε))² + (d/4) 4⁻³⁸ with ε = 2⁻¹⁰: 2.4e-7, attained by vectors of ± (1 + ε/2) 2ᵉ.

    Wire format: int16 k; 2¹⁴⁻ᵏ x_i as binary16, 16 bits a coordinate; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.
    """

    name = "float16"
    mantissa = 10
    one = 29
