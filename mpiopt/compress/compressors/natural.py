"""Natural compression: stochastic rounding to powers of two (Horváth, Ho, Horváth, Sahu, Canini, Richtárik 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Compressor, Vector, Wire, check_whole
from mpiopt.compress.compressors.header import HEADER, closed, opened
from mpiopt.kernels import bitpack, stochastic_rounding


@dataclass(frozen=True)
class Natural(Compressor):
    """C(x)_i = x_i rounded at random to a neighbouring ± 2ᵉ (Horváth et al. 2019).

    With `bits` a coordinate there are L = 2^(bits - 1) - 1 powers of two, the largest next above max |x_i|; what is
    below the least, m, becomes 0 or ± m.

    ω = 1/8 + (2/9) (d - 1) 4^(2 - L); 1/8 is attained by vectors of ± 4/3 2ᵉ, the rest is 2e-13 for d = 1e6 and the
    6 bits of the default (own derivation; x m - x² <= x²/8 + 2 m²/9).

    Wire: int16 k; `bits` a coordinate, the least significant first: c in 0 … L, then the sign; c > 0 stands for
    2^(k + c + 1 - L), c = 0 for 0; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.
    """

    name = "natural"
    unbiased = True

    bits: int = 6

    def __post_init__(self) -> None:
        check_whole(self.name, "bits", self.bits, 3, 8)

    def encode(self, x: Vector, seed: int) -> Wire:
        """Give exponents and signs."""
        k = stochastic_rounding.exponent(x)
        symbols = np.empty(x.size, np.uint8)
        stochastic_rounding.to_powers(x, *stochastic_rounding.factors(-k), self.bits, seed, symbols)
        return closed(k, bitpack.pack(symbols, self.bits))

    def decode(self, wire: Wire, d: int) -> Vector:
        """Give the powers of two."""
        k, rest = opened(self.name, wire, d, int(self.nbytes(d)))
        x = np.empty(d)
        stochastic_rounding.from_powers(
            bitpack.unpack(rest, d, self.bits), *stochastic_rounding.factors(k), self.bits, x
        )
        return x

    def variance(self, d: int) -> float:
        """Give 1/8 + (2/9) (d - 1) 4^(2 - L)."""
        most = 2 ** (self.bits - 1) - 1
        return 0.125 + 2.0 / 9.0 * (d - 1) * 4.0 ** (2 - most) if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give header and symbols."""
        return float(HEADER + bitpack.length(d, self.bits))
