"""Stabilised quantisation: the vector is turned at random first (Philippenko, Dieuleveut 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpiopt.compress import moments
from mpiopt.compress.compressors.base import SEED, Compressor, Vector, Wire, check_one_of
from mpiopt.compress.compressors.header import HEADER, closed, opened
from mpiopt.compress.compressors.quantised import ROUNDED, Quantised
from mpiopt.kernels import hadamard, stochastic_rounding
from mpiopt.kernels.haar import reflections, turn, turn_back
from mpiopt.kernels.random_words import other_seed

SMALL = 128  # numbers up to which `auto` draws from the Haar measure


@dataclass(frozen=True)
class Stabilised(Compressor):
    """C(x) = Uᵀ Q(U x) with a random rotation U and the quantisation Q (Philippenko, Dieuleveut 2024).

    `rotation=haar`: uniform over all orthogonal matrices, d² operations. `hadamard`: random signs and Hadamard
    matrices, d log d operations, nothing padded (`mpiopt.kernels.hadamard`). `auto`: Haar up to d = 128. The other
    options are those of `quantised`; the paper has `stabilised[levels=s,norm=l2,block=0,rotation=haar]`.

    Haar, 2-norm, one block: ω = d E w(u₁), the same for every x, with u uniform on the sphere and
    w(u) = f (1 - f)/s², f = frac(s |u|); that is d E|u₁| - 1 ≈ √(2d/π) - 1 for s = 1.
    E[C(x) C(x)ᵀ] = (1 + α - β) M + β Tr(M) I with α = d E[w u₁²], β = d E[w (1 - u₁²)]/(d - 1) (own derivation).

    Else ω is that of `quantised`. By Hadamard, 2-norm and one block, a vector of one coordinate attains it if
    d = 2ⁿ <= 4096.

    Wire: int16 k; the seed, from which both ends draw U; the wire of `quantised` of U 2⁻ᵏ x, max |x_i| 2⁻ᵏ in [1, 2).
    """

    name = "stabilised"
    unbiased = True

    levels: int = 7
    norm: str = "max"
    block: int = 128
    rotation: str = "auto"

    def __post_init__(self) -> None:
        check_one_of(self.name, "rotation", self.rotation, ("auto", "haar", "hadamard"))
        _ = self._inside

    @cached_property
    def _inside(self) -> Quantised:
        try:
            return Quantised(self.levels, self.norm, self.block)
        except ValueError as error:
            raise ValueError(str(error).replace(Quantised.name, self.name, 1)) from None

    def encode(self, x: Vector, seed: int) -> Wire:
        """Turn and quantise."""
        k = stochastic_rounding.exponent(x)
        a, b = stochastic_rounding.factors(-k)
        y = x * a * b
        if self._haar(x.size):
            turn(_all(x.size, seed), y)
        else:
            hadamard.rotate(y, seed)
        return closed(k, np.array([seed], "<u8"), self._inside.encode(y, other_seed(seed)))

    def decode(self, wire: Wire, d: int) -> Vector:
        """Read the levels and turn back."""
        k, rest = opened(self.name, wire, d, int(self.nbytes(d)))
        seed, y = int(rest[:SEED].view("<i8")[0]), self._inside.decode(rest[SEED:], d)
        if self._haar(d):
            turn_back(_all(d, seed), y)
        else:
            hadamard.rotate_back(y, seed)
        a, b = stochastic_rounding.factors(k)
        return y * a * b

    def variance(self, d: int) -> float:
        """Give d E w(u₁), or what `quantised` has."""
        if self._isotropic(d) and d > 1:
            return self._mean(d, 0) * d * ROUNDED**2
        return self._inside.variance(d)

    def nbytes(self, d: int) -> float:
        """Give header, seed and what `quantised` sends."""
        return HEADER + SEED + self._inside.nbytes(d)

    def second_moment(self, m: Vector) -> Vector | None:
        """Give (1 + α - β) M + β Tr(M) I for Haar, 2-norm and one block."""
        d = len(m)
        if not self._isotropic(d) or d == 1:
            return None
        alpha = d * self._mean(d, 2)
        beta = d * (self._mean(d, 0) - self._mean(d, 2)) / (d - 1)
        return np.asarray((1.0 + alpha - beta) * m + beta * np.trace(m) * np.eye(d))

    def _haar(self, d: int) -> bool:
        return self.rotation == "haar" or (self.rotation == "auto" and d <= SMALL)

    def _isotropic(self, d: int) -> bool:
        return self._haar(d) and self.norm == "l2" and (self.block == 0 or self.block >= d)

    def _mean(self, d: int, power: int) -> float:
        """Give E[w(u₁) |u₁|^power]; w by its cells, and where they are many, by its mean over a cell, 1/(6s²)."""
        s = self.levels
        if s > 5000:
            return moments.of_sphere(lambda u: u**power / (6.0 * s * s), d, np.empty(0))
        cells = np.arange(1, s) / s
        return moments.of_sphere(lambda u: _cell(s * u) * u**power / s**2, d, cells)


def _cell(r: Vector) -> Vector:
    f = r - np.floor(r)
    return np.asarray(f * (1.0 - f))


def _all(d: int, seed: int) -> Vector:
    v = np.empty((d, d))
    reflections(seed, v)
    return v
