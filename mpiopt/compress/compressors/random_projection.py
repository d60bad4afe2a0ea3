"""Random subspaces: what rand-k and sketch have in common.

Rand-k without replacement (Konečný, Richtárik 2018).

Sketching: a random projector (Philippenko, Dieuleveut 2024; Ailon, Chazelle 2009 for the fast one).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import SEED, Summable, Vector, check_one_of, check_share, kept
from mpiopt.kernels import hadamard, random_subsets
from mpiopt.kernels.haar import reflections, turn, turn_back
from mpiopt.kernels.random_words import other_seed


@dataclass(frozen=True)
class Subspace(Summable):
    """C(x) = (d/h) P x with a random projector P of rank h = share · d and mean (h/d) I: ω = d/h - 1 for every x."""

    unbiased = True

    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def count(self, d: int, seed: int) -> int:
        """Give h."""
        return kept(self.share, d)

    def variance(self, d: int) -> float:
        """Give d/h - 1; 0 for nothing."""
        return d / kept(self.share, d) - 1.0 if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give the seed and 4 h."""
        return SEED + 4.0 * kept(self.share, d)


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
        return x[random_subsets.exactly(kept(self.share, x.size), x.size, seed)]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Put (d/k) values where they were drawn."""
        x = np.zeros(d)
        k = kept(self.share, d)
        x[random_subsets.exactly(k, d, seed)] = values * (d / max(k, 1))
        return x

    def second_moment(self, m: Vector) -> Vector:
        """Give (d/k) (r M + (1 - r) Diag(M)), r = (k - 1)/(d - 1)."""
        d, k = len(m), kept(self.share, len(m))
        r = (k - 1) / (d - 1) if d > 1 else 1.0
        return (d / k) * (r * m + (1.0 - r) * np.diag(np.diag(m)))


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
        return y[random_subsets.exactly(h, x.size, other_seed(seed))]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Give d/h times the vector with these coordinates."""
        x, h = np.zeros(d), kept(self.share, d)
        if self._gaussian(d):
            x[:h] = values * (d / max(h, 1))
            turn_back(_basis(h, d, seed), x)
            return x
        x[random_subsets.exactly(h, d, other_seed(seed))] = values * (d / max(h, 1))
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
