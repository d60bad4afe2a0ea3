"""Stochastic rounding to bfloat16, the upper half of a float32 (Gupta et al. 2015 for stochastic rounding)."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.compressors.short import Short


@dataclass(frozen=True)
class Bfloat16(Short):
    """C(x)_i = x_i rounded at random to a neighbouring bfloat16 (stochastic rounding: Gupta et al. 2015).

    ω = (ε/(2 + ε))² with ε = 2⁻⁷: 1.5e-5, attained by vectors of ± (1 + ε/2) 2ᵉ.

    Wire: int16 k; 2⁻ᵏ x_i as bfloat16, 16 bits a coordinate; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.
    """

    name = "bfloat16"
    mantissa = 7
    one = 127
