"""No compression: the numbers as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Matrix, Payload, Summable, Vector


@dataclass(frozen=True)
class NoCompression(Summable):
    """C(x) = x, to the last bit: the identity (Philippenko, Dieuleveut 2024).

    ω = 0. E[C(x) C(x)ᵀ] = M.

    Wire format: x as float64; no seed. 64 bits a coordinate.
    """

    name = "none"
    unbiased = True

    def project(self, x: Vector, seed: int) -> Vector:
        """Return x."""
        return x

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Return the values."""
        return values

    def count(self, d: int, seed: int) -> int:
        """Return d."""
        return d

    def encode(self, x: Vector, seed: int) -> Payload:
        """Return the bytes of x."""
        return x.astype("<f8").view(np.uint8)

    def decode(self, payload: Payload, d: int) -> Vector:
        """Read float64 numbers."""
        if payload.size != 8 * d:
            raise ValueError(f"{self.name}: a message of {payload.size} bytes cannot hold {d} numbers")
        return payload.copy().view("<f8").astype(np.float64, copy=False)

    def variance(self, d: int) -> float:
        """Return 0."""
        return 0.0

    def nbytes(self, d: int) -> float:
        """Return 8 d."""
        return 8.0 * d

    def second_moment(self, m: Matrix) -> Matrix:
        """Return M."""
        return m.copy()
