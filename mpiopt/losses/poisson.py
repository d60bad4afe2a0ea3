"""Poisson loss exp(z) - y z, the negative log likelihood of counts without log y! (Nelder, Wedderburn 1972)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpiopt.kernels.block import exponential
from mpiopt.losses import BlockFunctions, Loss


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = exponential(z[i]) - y[i] * z[i]


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = exponential(z[i]) - y[i]


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = exponential(z[i])


@dataclass(frozen=True)
class Poisson(Loss):
    """exp(z) - y z for counts y >= 0; slope exp(z) - y, curvature exp(z), which has no bound."""

    name = "poisson"
    target = "count"
    curvature_bound = None

    @property
    def functions(self) -> BlockFunctions:
        """The block functions of this file."""
        return BlockFunctions(_value, _slope, _curvature)
