"""Natural compression: stochastic rounding to powers of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Payload, Vector, check_whole
from mpiopt.compress.compressors.header import HEADER, Parts, ScaledCompressor
from mpiopt.kernels import bitpack, stochastic_rounding


@dataclass(frozen=True)
class Natural(ScaledCompressor):
    """C(x)_i = x_i rounded at random to a neighbouring ± 2ᵉ (Horváth, Ho, Horváth, Sahu, Canini, Richtárik 2019).

    There are L = 2^(bits - 1) - 1 powers of two, the largest is the next above max |x_i|. Numbers below the least
    one, m, become 0 or ± m.

    ω = 1/8 + (2/9) (d - 1) 4^(2 - L). 1/8 is attained by vectors of ± 4/3 2ᵉ; the rest is 2e-13 for d = 1e6 and the
    6 bits of the default (own derivation; x m - x² <= x²/8 + 2 m²/9).

    Wire format: int16 k; `bits` a coordinate, the least significant first: c in 0 … L, then the sign; c > 0 means
    2^(k + c + 1 - L), c = 0 means 0; 2ᵏ <= max |x_i| < 2ᵏ⁺¹.

    Parameters
    ----------
    bits : int
        Bits a coordinate, 3 to 8.
    """

    name = "natural"
    unbiased = True

    bits: int = 6

    def __post_init__(self) -> None:
        check_whole(self.name, "bits", self.bits, 3, 8)

    def encode_scaled(self, x: Vector, a: float, b: float, seed: int) -> Parts:
        """Return exponents and signs."""
        symbols = np.empty(x.size, np.uint8)
        stochastic_rounding.to_powers(x, a, b, self.bits, seed, symbols)
        return [bitpack.pack(symbols, self.bits)]

    def decode_scaled(self, body: Payload, a: float, b: float, d: int) -> Vector:
        """Return the powers of two."""
        x = np.empty(d)
        stochastic_rounding.from_powers(bitpack.unpack(body, d, self.bits), a, b, self.bits, x)
        return x

    def variance(self, d: int) -> float:
        """Return 1/8 + (2/9) (d - 1) 4^(2 - L)."""
        most = 2 ** (self.bits - 1) - 1
        return 0.125 + 2.0 / 9.0 * (d - 1) * 4.0 ** (2 - most) if d else 0.0

    def nbytes(self, d: int) -> float:
        """Return the bytes of header and symbols."""
        return float(HEADER + bitpack.packed_bytes(d, self.bits))
