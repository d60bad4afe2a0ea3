"""Quantile loss, smoothed by a uniform kernel (Koenker, Bassett 1978; Fernandes, Guerre, Horta 2021)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.objective.losses.base import BlockFunctions, ClippedLine, LabelStatistics, Loss


@functools.cache
def _functions(tau: float, width: float) -> BlockFunctions:
    """Return the block functions for one quantile and width; cached, since a block function is compiled once."""
    lean = 0.5 - tau

    def value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            r = z[i] - y[i]
            size = abs(r)
            bowl = size if size > width else 0.5 * (r * r / width + width)
            out[i] = 0.5 * bowl + lean * r

    def slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            r = (z[i] - y[i]) / width
            r = 1.0 if r > 1.0 else r
            r = -1.0 if r < -1.0 else r
            out[i] = 0.5 * r + lean

    def curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            out[i] = 0.0 if abs(z[i] - y[i]) > width else 0.5 / width

    return BlockFunctions(value, slope, curvature)


@dataclass(frozen=True, eq=True)
class Quantile(Loss):
    """½ h(r) + (½ - tau) r with r = z - y; h(r) = |r| beyond `width`, else ½ (r²/width + width).

    The quantile loss max(-tau r, (1 - tau) r) (Koenker, Bassett 1978), smoothed by a uniform kernel (Fernandes,
    Guerre, Horta 2021). It is above the quantile loss by 0 to width/4 on each row, and so is its least value.

    Parameters
    ----------
    tau : float
        Share of the targets below the model, between 0 and 1.
    width : float
        Residual up to which the loss is smoothed, in units of the target; above 0.
    """

    name = "quantile"
    target = "real"
    jumps = True
    of_residual = True

    tau: float = 0.5
    width: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.tau < 1.0:
            raise ValueError(f"tau must be between 0 and 1, not {self.tau}")
        if not (self.width > 0.0 and math.isfinite(self.width)):
            raise ValueError(f"width must be a positive number, not {self.width}")

    @property
    def functions(self) -> BlockFunctions:
        """The block functions for this quantile and width."""
        return _functions(float(self.tau), float(self.width))

    @property
    def curvature_bound(self) -> float:
        """1/(2 width)."""
        return 0.5 / self.width

    @property
    def knee(self) -> float:
        """The residual `width`."""
        return self.width

    def majorant(self, z: Any, y: Any) -> Any:
        """Compute 1/(2 max(|r|, width)), as for Huber's loss; the linear part has no curvature."""
        return 0.5 / np.maximum(np.abs(z[:, 0] - y), self.width)

    def clipped_line(self, y: Any) -> ClippedLine:
        """Return (z - y)/(2 width) + ½ - tau, between -tau and 1 - tau."""
        ones, lean = np.ones(len(y)), 0.5 - self.tau
        return ClippedLine(0.5 / self.width, y - 2.0 * self.width * lean, -self.tau * ones, (1.0 - self.tau) * ones)

    def lowest(self, y: Any) -> Any:
        """Compute width tau (1 - tau), at r = (2 tau - 1) width."""
        return np.full(len(y), self.width * self.tau * (1.0 - self.tau))

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute u y + width ((u + tau − ½)² − ¼) where −tau <= u <= 1 − tau."""
        u = u[:, 0]
        within = (u >= -self.tau) & (u <= 1.0 - self.tau)
        return np.where(within, u * y + self.width * ((u + self.tau - 0.5) ** 2 - 0.25), np.inf)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: beyond max |y| + max |w·x| + width all slopes have one sign."""
        return labels.largest_label + size * labels.largest_row + self.width
