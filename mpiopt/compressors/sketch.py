"""Sketching: a random projector (Philippenko, Dieuleveut 2024; Ailon, Chazelle 2009 for the fast one)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compressors import Vector, check_one_of, kept
from mpiopt.compressors.subspace import Subspace
from mpiopt.kernels import hadamard, subsets
from mpiopt.kernels.haar import reflections, turn, turn_back
from mpiopt.kernels.words import other_seed

SMALL = 256  # numbers up to which `auto` draws a Gaussian projector


@dataclass(frozen=True)
class Sketch(Subspace):
    """C(x) = (d/h) P x with a random projector P of rank h = share · d (Philippenko, Dieuleveut 2024).

    `projector=gaussian`: on the span of h Gaussian vectors, P = Φ⁺Φ. `hadamard`: on h coordinates, drawn without
    replacement, of the vector turned by random signs and Hadamard matrices. `auto`: Gaussian up to d = 256.

    ω = d/h - 1 for every x, with either. Gaussian: E[C(x) C(x)ᵀ] = (d/h)² ((a - b) M + b Tr(M) I), with
    a = h (h + 2)/(d (d + 2)), b = h (d - h)/(d (d - 1) (d + 2)) (Philippenko, Dieuleveut 2024).

    Wire: the seed, from which both ends draw the projector; the h coordinates in an orthonormal basis of its range as
    float32 (float64 where the largest is beyond it). 32 h/d bits a coordinate.
    """

    name = "sketch"

    projector: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of(self.name, "projector", self.projector, ("auto", "gaussian", "hadamard"))

    def project(self, x: Vector, seed: int) -> Vector:
        """Give the coordinates in the basis."""
        y, h = x.copy(), kept(self.share, x.size)
        if self._gaussian(x.size):
            turn(_basis(h, x.size, seed), y)
            return y[:h].copy()
        hadamard.rotate(y, seed)
        return y[subsets.exactly(h, x.size, other_seed(seed))]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Give d/h times the vector with these coordinates."""
        x, h = np.zeros(d), kept(self.share, d)
        if self._gaussian(d):
            x[:h] = values * (d / max(h, 1))
            turn_back(_basis(h, d, seed), x)
            return x
        x[subsets.exactly(h, d, other_seed(seed))] = values * (d / max(h, 1))
        hadamard.rotate_back(x, seed)
        return x

    def second_moment(self, m: Vector) -> Vector | None:
        """Give (d/h)² ((a - b) M + b Tr(M) I) for the Gaussian projector."""
        d, h = len(m), kept(self.share, len(m))
        if not self._gaussian(d):
            return None
        a = h * (h + 2) / (d * (d + 2))
        b = h * (d - h) / (d * (d - 1) * (d + 2)) if d > 1 else 0.0
        return np.asarray((d / h) ** 2 * ((a - b) * m + b * np.trace(m) * np.eye(d)))

    def _gaussian(self, d: int) -> bool:
        return self.projector == "gaussian" or (self.projector == "auto" and d <= SMALL)


def _basis(h: int, d: int, seed: int) -> Vector:
    v = np.empty((h, d))
    reflections(seed, v)
    return v
