"""Projections on random subspaces: rand-k on coordinates, sketch on subspaces of any direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import SEED, Matrix, Summable, Vector, check_one_of, check_share, kept_count
from mpiopt.kernels import haar, hadamard, random_subsets
from mpiopt.kernels.random_words import second_seed

LARGEST_GAUSSIAN = 256  # numbers up to which `auto` draws a Gaussian projector, which takes h d operations


@dataclass(frozen=True)
class RandomProjection(Summable):
    """C(x) = (d/h) P x with a random projector P of rank h = share · d and mean (h/d) I: ω = d/h - 1 for every x."""

    unbiased = True

    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def count(self, d: int, seed: int) -> int:
        """Return h."""
        return kept_count(self.share, d)

    def variance(self, d: int) -> float:
        """Return d/h - 1; 0 for d = 0."""
        return d / kept_count(self.share, d) - 1.0 if d else 0.0

    def nbytes(self, d: int) -> float:
        """Return the bytes of the seed and of h numbers."""
        return SEED + 4.0 * kept_count(self.share, d)


@dataclass(frozen=True)
class RandK(RandomProjection):
    """C(x)_i = (d/k) x_i on k = share · d coordinates, else 0; every set is equally likely (Konečný, Richtárik 2018).

    ω = d/k - 1 for every x. E[C(x) C(x)ᵀ] = (d/k) (r M + (1 - r) Diag(M)) with r = (k - 1)/(d - 1) (Philippenko,
    Dieuleveut 2024; their code draws with replacement, which is biased).

    Wire format: the seed, from which both ends draw the coordinates; their x_i in the order of the draw as float32
    (float64 if the largest is beyond it). 32 k/d bits a coordinate.

    Parameters
    ----------
    share : float
        Share of the coordinates that is kept, in (0, 1]; at least one is.
    """

    name = "rand-k"

    def project(self, x: Vector, seed: int) -> Vector:
        """Return the drawn coordinates."""
        return x[random_subsets.draw_subset(kept_count(self.share, x.size), x.size, seed)]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Return the vector with (d/k) values at the drawn coordinates."""
        x = np.zeros(d)
        k = kept_count(self.share, d)
        x[random_subsets.draw_subset(k, d, seed)] = values * (d / max(k, 1))
        return x

    def second_moment(self, m: Matrix) -> Matrix:
        """Return (d/k) (r M + (1 - r) Diag(M)), r = (k - 1)/(d - 1)."""
        d, k = len(m), kept_count(self.share, len(m))
        r = (k - 1) / (d - 1) if d > 1 else 1.0
        return (d / k) * (r * m + (1.0 - r) * np.diag(np.diag(m)))


@dataclass(frozen=True)
class Sketch(RandomProjection):
    """C(x) = (d/h) P x with a random projector P of rank h = share · d (Philippenko, Dieuleveut 2024).

    ω = d/h - 1 for every x and both projectors. Gaussian: E[C(x) C(x)ᵀ] = (d/h)² ((a - b) M + b Tr(M) I), with
    a = h (h + 2)/(d (d + 2)), b = h (d - h)/(d (d - 1) (d + 2)) (Philippenko, Dieuleveut 2024).

    Wire format: the seed, from which both ends draw the projector; the h coordinates in an orthonormal basis of its
    range as float32 (float64 if the largest is beyond it). 32 h/d bits a coordinate.

    Parameters
    ----------
    share : float
        h/d, in (0, 1]; h is at least 1.
    projector : {"auto", "gaussian", "hadamard"}
        gaussian: on the span of h Gaussian vectors, P = Φ⁺Φ. hadamard: on h coordinates, drawn without replacement,
        of the vector rotated by random signs and Hadamard matrices (Ailon, Chazelle 2009). auto: Gaussian up to
        d = 256.
    """

    name = "sketch"

    projector: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of(self.name, "projector", self.projector, ("auto", "gaussian", "hadamard"))

    def project(self, x: Vector, seed: int) -> Vector:
        """Return the coordinates in the basis."""
        y, h = x.copy(), kept_count(self.share, x.size)
        if self._is_gaussian(x.size):
            haar.rotate(haar.reflections_of(seed, h, x.size), y)
            return y[:h].copy()
        hadamard.rotate(y, seed)
        return y[random_subsets.draw_subset(h, x.size, second_seed(seed))]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Return d/h times the vector with these coordinates."""
        x, h = np.zeros(d), kept_count(self.share, d)
        if self._is_gaussian(d):
            x[:h] = values * (d / max(h, 1))
            haar.rotate_back(haar.reflections_of(seed, h, d), x)
            return x
        x[random_subsets.draw_subset(h, d, second_seed(seed))] = values * (d / max(h, 1))
        hadamard.rotate_back(x, seed)
        return x

    def second_moment(self, m: Matrix) -> Matrix | None:
        """Return (d/h)² ((a - b) M + b Tr(M) I) for the Gaussian projector."""
        d, h = len(m), kept_count(self.share, len(m))
        if not self._is_gaussian(d):
            return None
        a = h * (h + 2) / (d * (d + 2))
        b = h * (d - h) / (d * (d - 1) * (d + 2)) if d > 1 else 0.0
        return np.asarray((d / h) ** 2 * ((a - b) * m + b * np.trace(m) * np.eye(d)))

    def _is_gaussian(self, d: int) -> bool:
        return self.projector == "gaussian" or (self.projector == "auto" and d <= LARGEST_GAUSSIAN)
