"""Stochastic rounding to IEEE binary16 (Gupta, Agrawal, Gopalakrishnan, Narayanan 2015 for stochastic rounding)."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.compressors.short import Short


@dataclass(frozen=True)
class Float16(Short):
    """C(x)_i = x_i rounded at random to a neighbouring float16 (stochastic rounding: Gupta et al. 2015).

    ω = (ε/(2 + ε))² + (d/4) 4⁻³⁸ with ε = 2⁻¹⁰: 2.4e-7, attained by vectors of ± (1 + ε/2) 2ᵉ.

    Wire: int16 k; 2¹⁴⁻ᵏ x_i as binary16, 16 bits a coordinate; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.
    """

    name = "float16"
    mantissa = 10
    one = 29
