"""Numbers sent with a probability: each coordinate by itself, or the whole vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.compress.compressors.base import SEED, Matrix, Payload, Summable, Vector, check_share
from mpiopt.compress.compressors.header import HEADER, Parts, ScaledCompressor, read_header
from mpiopt.kernels import random_subsets
from mpiopt.kernels.stochastic_rounding import scale_factors


@dataclass(frozen=True)
class RandomMask:
    """Base class: C(x)_i = x_i/p with probability p, else 0, so that ω = (1 - p)/p for every x."""

    name: ClassVar[str]
    unbiased: ClassVar[bool] = True

    share: float

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def variance(self, d: int) -> float:
        """Return (1 - p)/p; 0 for d = 0."""
        return (1.0 - self.share) / self.share if d else 0.0


@dataclass(frozen=True)
class Sparsified(RandomMask, Summable):
    """C(x)_i = x_i/p with probability p, else 0, each coordinate by itself (Wangni, Wang, Liu, Zhang 2018).

    ω = (1 - p)/p for every x. E[C(x) C(x)ᵀ] = M + (1 - p)/p Diag(M) (Philippenko, Dieuleveut 2024).

    Wire format: the seed, from which both ends draw the coordinates; the drawn x_i in their order as float32 (float64
    if the largest is beyond it). 32 p bits a coordinate on average.

    Parameters
    ----------
    share : float
        p, in (0, 1].
    """

    name = "sparsified"

    share: float = 0.1

    def project(self, x: Vector, seed: int) -> Vector:
        """Return the drawn coordinates."""
        values = np.empty(self.count(x.size, seed) + 1)
        random_subsets.gather(x, seed, self.share, values)
        return values[:-1]

    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Return the vector with values/p at the drawn coordinates."""
        x = np.empty(d)
        random_subsets.scatter(values, seed, self.share, x)
        return x

    def count(self, d: int, seed: int) -> int:
        """Return how many coordinates are drawn."""
        return int(random_subsets.count_drawn(d, seed, self.share))

    def nbytes(self, d: int) -> float:
        """Return the mean number of bytes: the seed and 4 p d."""
        return SEED + 4.0 * self.share * d

    def second_moment(self, m: Matrix) -> Matrix:
        """Return M + (1 - p)/p Diag(M)."""
        return m + self.variance(len(m)) * np.diag(np.diag(m))


@dataclass(frozen=True)
class Participation(RandomMask, ScaledCompressor):
    """C(x) = x/p with probability p, else 0: all or nothing.

    Partial participation: Philippenko, Dieuleveut 2020, 2024.

    ω = (1 - p)/p for every x. E[C(x) C(x)ᵀ] = M/p.

    Wire format: no byte if nothing is sent; else int16 k and x 2⁻ᵏ as float32, with 1 <= max |x_i| 2⁻ᵏ < 2. 32 p bits
    a coordinate on average.

    Parameters
    ----------
    share : float
        p, in (0, 1].
    """

    name = "participation"

    share: float = 0.5

    def encode(self, x: Vector, seed: int) -> Payload:
        """Return all or nothing."""
        if random_subsets.count_drawn(1, seed, self.share) == 0:
            return np.empty(0, np.uint8)
        return super().encode(x, seed)

    def decode(self, payload: Payload, d: int) -> Vector:
        """Return x/p or zeros."""
        if payload.size == 0:
            return np.zeros(d)
        k, body = read_header(self.name, payload, d, HEADER + 4 * d)
        return self.decode_scaled(body, *scale_factors(k), d)

    def encode_scaled(self, x: Vector, a: float, b: float, seed: int) -> Parts:
        """Return x as float32."""
        return [(x * a * b).astype("<f4")]

    def decode_scaled(self, body: Payload, a: float, b: float, d: int) -> Vector:
        """Return x/p."""
        return body.view("<f4").astype(np.float64) * (a / self.share) * b

    def nbytes(self, d: int) -> float:
        """Return the mean number of bytes: p times header and numbers."""
        return self.share * (HEADER + 4.0 * d)

    def second_moment(self, m: Matrix) -> Matrix:
        """Return M/p."""
        return m / self.share
