"""The six compressors of the paper's table, with equal variance ω, and the covariances of their outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels import averaged_sgd, compressors

Matrix = NDArray[np.float64]
KERNEL_NUMBERS = {
    "none": compressors.NONE,
    "quantised": compressors.QUANTISED,
    "sparsified": compressors.SPARSIFIED,
    "sketch": averaged_sgd.SKETCH,
    "rand-k": compressors.RAND_K,
    "participation": compressors.PARTICIPATION,
}


class Moments(NamedTuple):
    """What the covariance of a compressed random vector g depends on."""

    second: Matrix  # (d, d) E g gᵀ
    sample: Matrix  # (n, d) draws of g, for compressors without a formula


@dataclass(frozen=True)
class Method:
    """A compressor in d dimensions, in the form that the kernel takes."""

    name: str
    d: int
    option: float  # levels s, probability p, or number of kept directions h, k
    omega: float  # E‖C(x) − x‖² <= ω ‖x‖²

    @property
    def kind(self) -> int:
        """The kernel's number of the compressor."""
        return KERNEL_NUMBERS[self.name]

    @property
    def parts(self) -> tuple[float, float, float]:
        """α, β, δ of E[C(g) C(g)ᵀ] = α M + β Diag(M) + δ Tr(M) I, M = E g gᵀ, without rounding."""
        d, h = self.d, self.option
        if self.name == "participation":
            return 1.0 / h, 0.0, 0.0
        if self.name == "sparsified":
            return 1.0, 1.0 / h - 1.0, 0.0
        if self.name == "rand-k":  # without replacement
            both = (h - 1.0) / (d - 1.0)
            return d / h * both, d / h * (1.0 - both), 0.0
        if self.name == "sketch":
            a, b = h * (h + 2.0) / (d * (d + 2.0)), h * (d - h) / (d * (d - 1.0) * (d + 2.0))
            return (d / h) ** 2 * (a - b), 0.0, (d / h) ** 2 * b
        return 1.0, 0.0, 0.0

    def moment(self, g: Moments) -> Matrix:
        """Return E[C(g) C(g)ᵀ], shape (d, d)."""
        along, diagonal, round_ = self.parts
        own = diagonal * np.diag(g.second) + round_ * np.trace(g.second)
        if self.name == "quantised":
            own = own + self.rounding(g.sample).mean(axis=0)
        return np.asarray(along * g.second + np.diag(own))

    def rounding(self, x: Matrix) -> Matrix:
        """Return the variance of each coordinate of quantised rows: (‖x‖/s)² f (1 − f), f = s|x_i|/‖x‖ mod 1."""
        unit = np.linalg.norm(x, axis=1, keepdims=True) / self.option
        fraction = np.abs(x) / np.where(unit > 0.0, unit, 1.0) % 1.0
        return np.asarray(unit**2 * fraction * (1.0 - fraction))


def matched(d: int, levels: int) -> list[Method]:
    """Return the six methods with the ω of the quantisation: p = 1/(ω + 1), h = k = max(1, ⌊d p⌋)."""
    omega = min(d / levels**2, math.sqrt(d) / levels)
    p = 1.0 / (omega + 1.0)
    h = max(1, int(d * p))
    kept, part = d / h - 1.0, omega
    options = {"quantised": (levels, omega), "sparsified": (p, part), "sketch": (h, kept), "rand-k": (h, kept)}
    options = {"none": (1.0, 0.0), **options, "participation": (p, part)}
    return [Method(name, d, float(option), omega) for name, (option, omega) in options.items()]
