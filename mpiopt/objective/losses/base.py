"""Losses of linear models: a function of the margins z = W x + b of one row and its label.

A loss is one file: three block functions and the constants below. A block function works on n rows at once. It is
compiled when it is first used (`mpiopt.kernels.loss_block`), and kernels call it through its address. So a kernel
does not know which loss it runs, and a new loss needs no change elsewhere.
"""

from __future__ import annotations

import ctypes
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import Plugin
from mpiopt.kernels.loss_block import BlockFunction, address

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class LabelStatistics:
    """What a bound on the intercept needs to know of labels and rows; equal on all ranks."""

    floor: float  # (1/N) Σ s_i min_z loss(z, y_i): a lower bound of the loss part
    largest_label: float  # max |y_i|
    mean_label: float  # (1/N) Σ s_i y_i
    rarest_share: float  # share of the weight that the rarest class has; 0 if a class is absent
    largest_row: float  # max ‖x_i‖ without the intercept's column
    mean_row: float  # ‖(1/N) Σ s_i x_i‖; 0 without an intercept

    def loss_per_rare_row(self, above: float) -> float:
        """Return the loss a row of the rarest class can have at most, if the total loss is `above` its floor."""
        return above / self.rarest_share if self.rarest_share > 0.0 else math.inf


class BlockFunctions(NamedTuple):
    """The three block functions of a loss: plain Python functions f(z, y, out, n, outputs) over float64 pointers.

    Attributes
    ----------
    value : callable
        Writes the loss of row i into out[i].
    slope : callable
        Writes the derivative by margin c of row i into out[i * outputs + c].
    curvature : callable
        Writes the second derivative of row i by its margin into out[i]; with several outputs a number c_i such that
        the Hessian of row i is at most c_i times the identity.
    """

    value: BlockFunction
    slope: BlockFunction
    curvature: BlockFunction


@dataclass(frozen=True)
class Loss(Plugin, ABC):
    """A convex loss(z, y), twice differentiable almost everywhere.

    Attributes
    ----------
    target : str
        The labels it takes: "binary" (-1, +1), "multiclass" (0 … C-1), "real" or "count" (>= 0).
    curvature_bound : float or None
        The largest second derivative: loss'' <= curvature_bound for every row (softmax: the largest eigenvalue of
        the Hessian). None if there is no bound (Poisson).
    quadratic : bool
        Whether loss'' does not depend on the margin.
    centred : bool
        Whether the slopes of all outputs sum to 0 on every row.
    functions : BlockFunctions
        The block functions, before they are compiled.

    Examples
    --------
    >>> import numpy as np
    >>> loss = Loss.make("huber", {"delta": 2.0})
    >>> z, y = np.array([[0.5], [5.0]]), np.zeros(2)
    >>> loss.value(z, y).tolist(), loss.slope(z, y).tolist()
    ([0.125, 8.0], [[0.5], [2.0]])
    """

    target: ClassVar[str]
    curvature_bound: ClassVar[float | None] = None
    quadratic: ClassVar[bool] = False
    centred: ClassVar[bool] = False

    def outputs(self, classes: int) -> int:
        """Return the number of weight vectors of the model: 1, or one for each class."""
        return 1

    @property
    @abstractmethod
    def functions(self) -> BlockFunctions:
        """The three block functions; a loss without options sets them as a plain class attribute."""

    @property
    def value_address(self) -> int:
        """Address of the compiled value function."""
        return address(self.functions.value)

    @property
    def slope_address(self) -> int:
        """Address of the compiled slope function."""
        return address(self.functions.slope)

    def value(self, z: Vector, y: Vector) -> Vector:
        """Compute the loss of each row.

        Parameters
        ----------
        z : ndarray, shape (n, outputs)
            Margins.
        y : ndarray, shape (n,)
            Labels.

        Returns
        -------
        ndarray, shape (n,)
        """
        return _call(self.value_address, z, y, (len(y),))

    def slope(self, z: Vector, y: Vector) -> Vector:
        """Compute the derivative of each row's loss by its margins, shape (n, outputs); arguments as of `value`."""
        return _call(self.slope_address, z, y, np.shape(z))

    def curvature(self, z: Vector, y: Vector) -> Vector:
        """Compute the second derivative of each row's loss (several outputs: its bound c_i), shape (n,)."""
        return _call(address(self.functions.curvature), z, y, (len(y),))

    def mean_curvature(self, z: Vector, y: Vector) -> Vector:
        """Compute the mean of each row's Hessian eigenvalues, shape (n,), apart from directions it ignores."""
        return self.curvature(z, y)

    def lowest(self, y: Vector) -> Vector:
        """Compute min_z loss(z, y) for each label, shape (n,)."""
        return np.zeros(len(y))

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound the intercept |b*| of an optimum; with several outputs the difference of any two.

        Parameters
        ----------
        labels : LabelStatistics
            Facts about labels and rows.
        above : float
            The loss at the optimum is at most labels.floor + above.
        size : float
            ‖w*‖ without the intercept is at most this.

        Returns
        -------
        float
            The bound; inf if none is known. Then no duality gap is possible with an intercept.
        """
        return math.inf


def _call(address: int, z: Vector, y: Vector, shape: tuple[int, ...]) -> Vector:
    """Call a compiled block function from Python."""
    z, y = np.ascontiguousarray(z, np.float64), np.ascontiguousarray(y, np.float64)
    out = np.empty(shape)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, integer, integer)(address)
    function(z.ctypes.data, y.ctypes.data, out.ctypes.data, *z.shape)
    return out


def loss_targets() -> dict[str, str]:
    """Return the target that each loss takes, by the name of the loss."""
    return {name: member.target for name, member in Loss.known().items()}
