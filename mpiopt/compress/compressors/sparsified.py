"""Bernoulli sparsification (Wangni, Wang, Liu, Zhang 2018, with equal probabilities)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import SEED, Summable, Vector, check_share
from mpiopt.kernels import random_subsets


@dataclass(frozen=True)
class Sparsified(Summable):
    """C(x)_i = x_i/p with probability p = share, else 0, each coordinate by itself (Wangni et al. 2018).

    ω = (1 - p)/p for every x. E[C(x) C(x)ᵀ] = M + (1 - p)/p Diag(M) (Philippenko, Dieuleveut 2024).

    Wire: the seed, from which both ends draw the coordinates; the drawn x_i in their order as float32 (float64 where
    the largest is beyond it). 32 p bits a coordinate on average.
    """

    name = "sparsified"
    unbiased = True

    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def project(self, x: Vector, seed: int) -> Vector:
        """Give the drawn coordinates."""
        values = np.empty(self.count(x.size, seed) + 1)
        random_subsets.gather(x, seed, self.share, values)
        return values[:-1]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Put values/p where they were drawn."""
        x = np.empty(d)
        random_subsets.scatter(values, seed, self.share, x)
        return x

    def count(self, d: int, seed: int) -> int:
        """Give how many are drawn."""
        return int(random_subsets.count(d, seed, self.share))

    def variance(self, d: int) -> float:
        """Give (1 - p)/p; 0 for nothing."""
        return (1.0 - self.share) / self.share if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give the mean: the seed and 4 p d."""
        return SEED + 4.0 * self.share * d

    def second_moment(self, m: Vector) -> Vector:
        """Give M + (1 - p)/p Diag(M)."""
        return m + self.variance(len(m)) * np.diag(np.diag(m))
