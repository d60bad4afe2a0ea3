"""Stabilised quantisation: the vector is rotated at random before it is quantised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpiopt.compress import moments
from mpiopt.compress.compressors.base import SEED, Matrix, Payload, Vector, check_one_of
from mpiopt.compress.compressors.header import HEADER, Parts, ScaledCompressor
from mpiopt.compress.compressors.quantised import ROUNDED, Quantised
from mpiopt.kernels import haar, hadamard
from mpiopt.kernels.random_words import second_seed

LARGEST_HAAR = 128  # numbers up to which `auto` draws from the Haar measure, which takes d² operations
MOST_CELLS = 5000  # levels up to which the mean over the sphere is taken cell by cell


@dataclass(frozen=True)
class Stabilised(ScaledCompressor):
    """C(x) = Uᵀ Q(U x) with a random rotation U and the quantisation Q (Philippenko, Dieuleveut 2024).

    The quantisation of the paper is `stabilised[levels=s,norm=l2,block=0,rotation=haar]`.

    Haar, 2-norm, one block: ω = d E w(u₁), the same for every x, with u uniform on the sphere and
    w(u) = f (1 - f)/s², f = frac(s |u|); that is d E|u₁| - 1 ≈ √(2d/π) - 1 for s = 1.
    E[C(x) C(x)ᵀ] = (1 + α - β) M + β Tr(M) I with α = d E[w u₁²], β = d E[w (1 - u₁²)]/(d - 1) (own derivation).

    Else ω is that of `quantised`. With Hadamard, 2-norm and one block, a vector of one coordinate attains it if
    d = 2ⁿ <= 4096.

    Wire format: int16 k; the seed, from which both ends draw U; the format of `quantised` for U 2⁻ᵏ x, max |x_i| 2⁻ᵏ
    in [1, 2).

    Parameters
    ----------
    levels, norm, block
        As of `quantised`.
    rotation : {"auto", "haar", "hadamard"}
        haar: uniform over all orthogonal matrices, d² operations. hadamard: random signs and Hadamard matrices,
        d log d operations, without padding (`mpiopt.kernels.hadamard`). auto: Haar up to d = 128.
    """

    name = "stabilised"
    unbiased = True

    levels: int = 7
    norm: str = "max"
    block: int = 128
    rotation: str = "auto"

    def __post_init__(self) -> None:
        check_one_of(self.name, "rotation", self.rotation, ("auto", "haar", "hadamard"))
        _ = self._quantised

    @cached_property
    def _quantised(self) -> Quantised:
        """Return the quantisation Q."""
        try:
            return Quantised(self.levels, self.norm, self.block)
        except ValueError as error:
            raise ValueError(str(error).replace(Quantised.name, self.name, 1)) from None

    def encode_scaled(self, x: Vector, a: float, b: float, seed: int) -> Parts:
        """Return the seed and the quantised rotated vector."""
        y = x * a * b
        if self._is_haar(x.size):
            haar.rotate(haar.reflections_of(seed, x.size, x.size), y)
        else:
            hadamard.rotate(y, seed)
        return np.array([seed], "<u8"), self._quantised.encode(y, second_seed(seed))

    def decode_scaled(self, body: Payload, a: float, b: float, d: int) -> Vector:
        """Return the levels, rotated back."""
        seed, y = int(body[:SEED].view("<i8")[0]), self._quantised.decode(body[SEED:], d)
        if self._is_haar(d):
            haar.rotate_back(haar.reflections_of(seed, d, d), y)
        else:
            hadamard.rotate_back(y, seed)
        return y * a * b

    def variance(self, d: int) -> float:
        """Return d E w(u₁), or what `quantised` has."""
        if self._is_isotropic(d) and d > 1:
            return self._sphere_mean(d, 0) * d * ROUNDED**2
        return self._quantised.variance(d)

    def nbytes(self, d: int) -> float:
        """Return the bytes of header, seed and quantised vector."""
        return HEADER + SEED + self._quantised.nbytes(d)

    def second_moment(self, m: Matrix) -> Matrix | None:
        """Return (1 + α - β) M + β Tr(M) I for Haar, 2-norm and one block."""
        d = len(m)
        if not self._is_isotropic(d) or d == 1:
            return None
        alpha = d * self._sphere_mean(d, 2)
        beta = d * (self._sphere_mean(d, 0) - self._sphere_mean(d, 2)) / (d - 1)
        return np.asarray((1.0 + alpha - beta) * m + beta * np.trace(m) * np.eye(d))

    def _is_haar(self, d: int) -> bool:
        return self.rotation == "haar" or (self.rotation == "auto" and d <= LARGEST_HAAR)

    def _is_isotropic(self, d: int) -> bool:
        """Return whether the noise depends on ‖x‖ alone."""
        return self._is_haar(d) and self.norm == "l2" and (self.block == 0 or self.block >= d)

    def _sphere_mean(self, d: int, power: int) -> float:
        """Compute E[w(u₁) |u₁|^power], cell by cell; for many cells with the mean of w over a cell, 1/(6s²)."""
        s = self.levels
        if s > MOST_CELLS:
            return moments.sphere_mean(lambda u: u**power / (6.0 * s * s), d, np.empty(0))
        return moments.sphere_mean(lambda u: _cell(s * u) * u**power / s**2, d, np.arange(1, s) / s)


def _cell(r: Vector) -> Vector:
    """Return f (1 - f), f the fractional part of r."""
    f = r - np.floor(r)
    return np.asarray(f * (1.0 - f))
