"""Quantisation by stochastic rounding to s levels (QSGD)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress import moments
from mpiopt.compress.compressors.base import Matrix, Payload, Vector, check_one_of, check_whole
from mpiopt.compress.compressors.header import HEADER, Parts, ScaledCompressor
from mpiopt.kernels import bitpack, stochastic_rounding

MOST = 2**29  # levels and numbers of a block: symbols 0 … 2s fit in 31 bits
ROUNDED = 1.0 + 2.0**-23  # largest factor by which a norm grows when it is rounded up to float32
LARGEST_SHRINK = 1.8  # times 1/(1 + ω): below 2, so that s C is a contraction for every vector
NORMS = {"max": stochastic_rounding.MAX, "l2": stochastic_rounding.EUCLID}


@dataclass(frozen=True)
class Quantised(ScaledCompressor):
    """C(x)_i = (n/s) ⌊s x_i/n + u_i⌋: one of 2s + 1 levels up to the norm n of a block.

    Alistarh, Grubic, Li, Tomioka, Vojnovic 2017 (QSGD). u_i is uniform in [0, 1).
    `quantised[levels=s,norm=l2,block=0]` is the quantisation of that paper and of Philippenko and Dieuleveut (2024).
    Over long vectors it is poor: with blocks and the largest magnitude the noise for each bit is far smaller.

    With b the numbers of a block:

    * max: ω = (√(1 + (b - 1)/s²) - 1)/2, attained by blocks of one 1 and else t = 1/(2s (1 + ω));
    * l2: ω = √b/s - 1 if 2s <= √b, attained by constants, else b/(4s²), attained by constants if s is an odd
      multiple of √b/2; both are below the min(b/s², √b/s) of Alistarh et al.

    E[C(x) C(x)ᵀ] = M - Diag(M) + Diag(E ‖x‖ |x_i|) for s = 1, l2, one block (Philippenko, Dieuleveut 2024); the mean
    is an integral over one number.

    Wire format: int16 k; the norms of the blocks of 2⁻ᵏ x as float32, rounded up; the levels + s of all x in
    ⌈log₂(2s + 1)⌉ bits each, the least significant first; for s = 1 five to a byte, the first times 1, the last times
    81.

    Parameters
    ----------
    levels : int
        s, 1 to 2²⁹.
    norm : {"max", "l2"}
        n: the largest magnitude or the Euclidean norm of a block.
    block : int
        Numbers of a block; 0 for all of x.
    """

    name = "quantised"
    unbiased = True

    levels: int = 7
    norm: str = "max"
    block: int = 128

    def __post_init__(self) -> None:
        check_whole(self.name, "levels", self.levels, 1, MOST)
        check_whole(self.name, "block", self.block, 0, MOST)
        check_one_of(self.name, "norm", self.norm, tuple(NORMS))

    @property
    def width(self) -> int:
        """Bits of a level."""
        return (2 * self.levels).bit_length()

    def encode_scaled(self, x: Vector, a: float, b: float, seed: int) -> Parts:
        """Return norms and levels."""
        norms = np.empty(self._blocks(x.size))
        stochastic_rounding.norms(x, a, b, self._block(x.size), NORMS[self.norm], norms)
        scales = _rounded_up(norms)
        symbols = np.empty(x.size, bitpack.symbol_type(self.width))
        stochastic_rounding.quantise(x, a, b, self._block(x.size), scales, self.levels, seed, symbols)
        return scales, bitpack.pack_threes(symbols) if self.levels == 1 else bitpack.pack(symbols, self.width)

    def decode_scaled(self, body: Payload, a: float, b: float, d: int) -> Vector:
        """Return levels times norms."""
        cut = 4 * self._blocks(d)
        scales, packed = body[:cut].view("<f4"), body[cut:]
        symbols = bitpack.unpack_threes(packed, d) if self.levels == 1 else bitpack.unpack(packed, d, self.width)
        x = np.empty(d)
        stochastic_rounding.dequantise(symbols, a, b, self._block(d), scales, self.levels, x)
        return x

    def variance(self, d: int) -> float:
        """Return ω of the longest block, with the rounding of its norm."""
        b, s = min(self._block(d), d), self.levels
        if b == 0:
            return 0.0
        if self.norm == "max":
            return (math.sqrt(1.0 + (b - 1) * (ROUNDED / s) ** 2) - 1.0) / 2.0 + ROUNDED * (ROUNDED - 1.0) / s
        return ROUNDED * math.sqrt(b) / s - 1.0 if 2 * s <= math.sqrt(b) else ROUNDED**2 * b / (4.0 * s * s)

    def shrink(self, d: int) -> float:
        """Return 1/(1 + ω) with the ω of Gaussian vectors, as long as that is a contraction for all others, too.

        Rounding to levels n/s apart has the variance (n/s)²/6 on average, and n² is about 2 ‖x‖² ln(b)/b.
        """
        b, worst = max(2, min(self._block(d), d)), self.variance(d)
        typical = (2.0 * math.log(b) if self.norm == "max" else b) / (6.0 * self.levels**2)
        return min(1.0 / (1.0 + min(typical, worst)), LARGEST_SHRINK / (1.0 + worst))

    def nbytes(self, d: int) -> float:
        """Return the bytes of header, norms and levels."""
        packed = -(-d // 5) if self.levels == 1 else bitpack.packed_bytes(d, self.width)
        return float(HEADER + 4 * self._blocks(d) + packed)

    def second_moment(self, m: Matrix) -> Matrix | None:
        """Return M - Diag(M) + Diag(E ‖x‖ |x_i|) for one level, the 2-norm and one block."""
        if self.levels > 1 or self.norm != "l2" or self._blocks(len(m)) > 1:
            return None
        return m - np.diag(np.diag(m)) + np.diag(moments.norm_times_magnitude(m))

    def _block(self, d: int) -> int:
        """Return the numbers of a block."""
        return self.block or max(d, 1)

    def _blocks(self, d: int) -> int:
        """Return the number of blocks."""
        return -(-d // self._block(d))


def _rounded_up(norms: Vector) -> NDArray[np.float32]:
    """Return norms as float32, none below its float64."""
    near = norms.astype("<f4")
    return np.where(near < norms, np.nextafter(near, np.float32(np.inf)), near)
