"""Losses of linear models: a function of the margins z = W x + b of one row and its label.

One loss is one file: three block functions, compiled by `mpiopt.kernels.loss_block` when wanted, and the constants
below.
A block function works on n rows at once, so that kernels call it through a plain address and need not know
which loss it is; a new loss needs no change elsewhere.
"""

from __future__ import annotations

import ctypes
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import Plugin
from mpiopt.kernels.loss_block import BlockFunction, address

Vector = NDArray[np.float64]


class Reach(Protocol):
    """What `intercept_reach` asks of labels and rows; `mpiopt.objective.duality_gap.Labels` has it."""

    @property
    def largest(self) -> float:
        """The largest |y_i|."""

    @property
    def mean(self) -> float:
        """The weighted mean of the labels."""

    @property
    def rarest(self) -> float:
        """The smallest share of the weight that one class has."""

    @property
    def row(self) -> float:
        """The largest ‖x_i‖."""

    @property
    def mean_row(self) -> float:
        """The norm of the weighted mean row."""


class BlockFunctions(NamedTuple):
    """What one loss is made of."""

    value: BlockFunction
    slope: BlockFunction
    curvature: BlockFunction


@dataclass(frozen=True)
class Loss(Plugin, ABC):
    """A convex loss(z, y), twice differentiable almost everywhere.

    `target` says what labels it takes: "binary" (-1, +1), "multiclass" (0 … C-1), "real", "count" (>= 0).
    `curvature_bound` is the largest second derivative: for every row loss'' <= curvature_bound (for softmax: of
    the Hessian's largest eigenvalue). None where there is none (Poisson).
    """

    target: ClassVar[str]
    curvature_bound: ClassVar[float | None] = None
    quadratic: ClassVar[bool] = False  # loss'' does not depend on the margin
    centred: ClassVar[bool] = False  # slopes of all outputs sum to 0 on every row

    def outputs(self, classes: int) -> int:
        """Weight vectors of the model: 1, or one per class."""
        return 1

    @property
    @abstractmethod
    def functions(self) -> BlockFunctions:
        """The three block functions, plain Python as `mpiopt.kernels.loss_block` compiles it."""

    @property
    def value_address(self) -> int:
        """Address of value(z, y, out, n, outputs): out[i] = loss of row i; z is (n, outputs), y and out (n,)."""
        return address(self.functions.value)

    @property
    def slope_address(self) -> int:
        """Address of slope(z, y, out, n, outputs): out (n, outputs), the derivative by each margin."""
        return address(self.functions.slope)

    @property
    def curvature_address(self) -> int:
        """Address of curvature(z, y, out, n, outputs): out (n,), the second derivative by the margin.

        With several outputs: a number c_i such that the Hessian of row i is at most c_i times the identity.
        """
        return address(self.functions.curvature)

    def value(self, z: Vector, y: Vector) -> Vector:
        """Give the loss of each row, shape (n,), for margins z, shape (n, outputs), and labels y (n,)."""
        return _call(self.value_address, z, y, (len(y),))

    def slope(self, z: Vector, y: Vector) -> Vector:
        """Give the derivative of each row's loss by its margins, shape (n, outputs)."""
        return _call(self.slope_address, z, y, np.shape(z))

    def curvature(self, z: Vector, y: Vector) -> Vector:
        """Give the second derivative of each row's loss (several outputs: the bound c_i), shape (n,)."""
        return _call(self.curvature_address, z, y, (len(y),))

    def lowest(self, y: Vector) -> Vector:
        """Give min_z loss(z, y) for each label, shape (n,)."""
        return np.zeros(len(y))

    def intercept_reach(self, labels: Reach, above: float, size: float) -> float:
        """Give a bound on |b*| of an optimum with ‖w*‖ <= size and a loss of at most floor + above; inf: none known.

        Of several outputs: on the difference of any two.
        """
        return math.inf

    def mean_curvature(self, z: Vector, y: Vector) -> Vector:
        """Give the mean of the Hessian's eigenvalues for each row, shape (n,), apart from directions it ignores."""
        return self.curvature(z, y)


def _call(address: int, z: Vector, y: Vector, shape: tuple[int, ...]) -> Vector:
    z, y = np.ascontiguousarray(z, np.float64), np.ascontiguousarray(y, np.float64)
    out = np.empty(shape)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, integer, integer)(address)
    function(z.ctypes.data, y.ctypes.data, out.ctypes.data, *z.shape)
    return out


def loss_targets() -> dict[str, str]:
    """Return the target that each loss takes, by the name of the loss."""
    return {name: member.target for name, member in Loss.known().items()}
