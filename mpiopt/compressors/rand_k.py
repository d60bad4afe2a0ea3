"""Rand-k without replacement (Konečný, Richtárik 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compressors import Vector, kept
from mpiopt.compressors.subspace import Subspace
from mpiopt.kernels import subsets


@dataclass(frozen=True)
class RandK(Subspace):
    """C(x)_i = (d/k) x_i on k = share · d coordinates, else 0; every set as likely (Konečný, Richtárik 2018).

    ω = d/k - 1 for every x. E[C(x) C(x)ᵀ] = (d/k) (r M + (1 - r) Diag(M)) with r = (k - 1)/(d - 1) (Philippenko,
    Dieuleveut 2024, who draw with replacement in their code, which is biased).

    Wire: the seed, from which both ends draw the coordinates; their x_i in the order of the draw as float32 (float64
    where the largest is beyond it). 32 k/d bits a coordinate.
    """

    name = "rand-k"

    def project(self, x: Vector, seed: int) -> Vector:
        """Give the drawn coordinates."""
        return x[subsets.exactly(kept(self.share, x.size), x.size, seed)]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Put (d/k) values where they were drawn."""
        x = np.zeros(d)
        k = kept(self.share, d)
        x[subsets.exactly(k, d, seed)] = values * (d / max(k, 1))
        return x

    def second_moment(self, m: Vector) -> Vector:
        """Give (d/k) (r M + (1 - r) Diag(M)), r = (k - 1)/(d - 1)."""
        d, k = len(m), kept(self.share, len(m))
        r = (k - 1) / (d - 1) if d > 1 else 1.0
        return (d / k) * (r * m + (1.0 - r) * np.diag(np.diag(m)))
