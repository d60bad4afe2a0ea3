"""No compression: the numbers as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Summable, Vector, Wire


@dataclass(frozen=True)
class NoCompression(Summable):
    """C(x) = x, to the last bit (Philippenko, Dieuleveut 2024, the identity).

    ω = 0. E[C(x) C(x)ᵀ] = M.

    Wire: x as float64; no seed. 64 bits a coordinate.
    """

    name = "none"
    unbiased = True

    def project(self, x: Vector, seed: int) -> Vector:
        """Give x."""
        return x

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Give the values."""
        return values

    def count(self, d: int, seed: int) -> int:
        """Give d."""
        return d

    def encode(self, x: Vector, seed: int) -> Wire:
        """Give the bytes of x."""
        return x.astype("<f8").view(np.uint8)

    def decode(self, wire: Wire, d: int) -> Vector:
        """Read float64 numbers."""
        if wire.size != 8 * d:
            raise ValueError(f"{self.name}: a wire of {wire.size} bytes is not one of {d} numbers")
        return wire.copy().view("<f8").astype(np.float64, copy=False)

    def variance(self, d: int) -> float:
        """Give 0."""
        return 0.0

    def nbytes(self, d: int) -> float:
        """Give 8 d."""
        return 8.0 * d

    def second_moment(self, m: Vector) -> Vector:
        """Give M."""
        return m.copy()
