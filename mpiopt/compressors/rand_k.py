"""Rand-k without replacement (Konečný, Richtárik 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compressors import SEED, Summable, Vector, check_share, kept
from mpiopt.kernels import subsets


@dataclass(frozen=True)
class RandK(Summable):
    """C(x)_i = (d/k) x_i on k coordinates, else 0 (Konečný, Richtárik 2018); k = share · d, every set as likely.

    ω = d/k - 1 for every x. E[C(x) C(x)ᵀ] = (d/k) (r M + (1 - r) Diag(M)) with r = (k - 1)/(d - 1) (Philippenko,
    Dieuleveut 2024, who draw with replacement in their code, which is biased).

    Wire: the seed, from which both ends draw the coordinates; their x_i in the order of the draw as float32 (float64
    where the largest is beyond it). 32 k/d bits a coordinate.
    """

    name = "rand-k"
    unbiased = True

    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def project(self, x: Vector, seed: int) -> Vector:
        """Give the drawn coordinates."""
        return x[subsets.exactly(kept(self.share, x.size), x.size, seed)]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Put (d/k) values where they were drawn."""
        x = np.zeros(d)
        k = kept(self.share, d)
        x[subsets.exactly(k, d, seed)] = values * (d / max(k, 1))
        return x

    def count(self, d: int, seed: int) -> int:
        """Give k."""
        return kept(self.share, d)

    def variance(self, d: int) -> float:
        """Give d/k - 1; 0 for nothing."""
        return d / kept(self.share, d) - 1.0 if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give the seed and 4 k."""
        return SEED + 4.0 * kept(self.share, d)

    def second_moment(self, m: Vector) -> Vector:
        """Give (d/k) (r M + (1 - r) Diag(M)), r = (k - 1)/(d - 1)."""
        d, k = len(m), kept(self.share, len(m))
        r = (k - 1) / (d - 1) if d > 1 else 1.0
        return (d / k) * (r * m + (1.0 - r) * np.diag(np.diag(m)))
