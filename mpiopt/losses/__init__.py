"""Losses of linear models: a function of the margins z = W x + b of one row and its label.

One loss is one file: three block functions compiled by numba (`mpiopt.kernels.block`) and the constants below.
A block function works on n rows at once, so that kernels call it through a plain address and need not know
which loss it is; a new loss needs no change elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.plugin import Plugin

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Loss(Plugin, ABC):
    """A convex loss(z, y), twice differentiable almost everywhere.

    `target` says what labels it takes: "binary" (-1, +1), "multiclass" (0 … C-1), "real", "count" (>= 0).
    `curvature_bound` is the largest second derivative: for every row loss'' <= curvature_bound (for softmax: of
    the Hessian's largest eigenvalue). None where there is none (Poisson).
    """

    target: ClassVar[str]
    curvature_bound: float | None = None

    def outputs(self, classes: int) -> int:
        """Weight vectors of the model: 1, or one per class."""
        return 1

    @property
    @abstractmethod
    def value_address(self) -> int:
        """Address of value(z, y, out, n, outputs): out[i] = loss of row i; z is (n, outputs), y and out (n,)."""

    @property
    @abstractmethod
    def slope_address(self) -> int:
        """Address of slope(z, y, out, n, outputs): out (n, outputs), the derivative by each margin."""

    @property
    @abstractmethod
    def curvature_address(self) -> int:
        """Address of curvature(z, y, out, n, outputs): out (n,), the second derivative by the margin.

        With several outputs: a number c_i such that the Hessian of row i is at most c_i times the identity.
        """
