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


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """What a bound on the intercept needs to know of labels and rows; equal on all ranks."""

    floor: float  # (1/N) Σ s_i min_z loss(z, y_i): a lower bound of the loss part
    largest_label: float  # max |y_i|
    mean_label: float  # (1/N) Σ s_i y_i
    rarest_share: float  # share of the weight that the rarest class has; 0 if a class is absent
    largest_row: float  # max ‖x_i‖ in units of the penalty, so that |w*·x_i| <= size · largest_row
    mean_row: float  # ‖(1/N) Σ s_i x_i‖ in the same units; 0 without an intercept
    least_share: float  # smallest s_i/N above 0
    mean_row_vector: Vector  # (width,) (1/N) Σ s_i x_i; zeros without an intercept
    largest_offset: float = 0.0  # max |o_i|

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


class ClippedLine(NamedTuple):
    """Slopes min(max(bend (z - centre), low), high) of a loss by its margins z."""

    bend: float | Vector  # or one for each row, inf for a jump from the lower bound to the upper one
    centre: Vector  # (n,)
    low: Vector  # (n,), -inf where nothing is clipped
    high: Vector  # (n,)


@dataclass(frozen=True)
class Loss(Plugin, ABC):
    """A convex loss(z, y), twice differentiable almost everywhere.

    Attributes
    ----------
    target : str
        The labels it takes: "binary" (-1, +1), "multiclass" (0 … C-1), "real", "count" (>= 0), "positive" (> 0) or
        "rate" (0 to 1).
    curvature_bound : float or None
        The largest second derivative: loss'' <= curvature_bound for every row (softmax: the largest eigenvalue of
        the Hessian). None if there is no bound (Poisson).
    quadratic : bool
        Whether loss'' does not depend on the margin.
    centred : bool
        Whether the slopes of all outputs sum to 0 on every row.
    jumps : bool
        Whether loss'' jumps from 0 to its bound at some margins, as that of piecewise quadratic losses does.
    of_residual : bool
        Whether it is a function of margin - label alone, so that labels and intercept may lose an origin.
    right_below : float or None
        Loss of a row below which the row's label is predicted and larger weights only lower the loss; None if the
        loss of a row reaches its least value.
    family : str
        The distribution whose negative log likelihood it is, up to a term without the margin; "" if it is none.
    link : str
        "identity", "log", "logit" or "inverse": the function of the expected target that is the margin.
    known_dispersion : bool
        Whether the distribution has the dispersion 1; else it is estimated.
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
    quadratic: ClassVar[bool] = False
    centred: ClassVar[bool] = False
    jumps: ClassVar[bool] = False
    of_residual: ClassVar[bool] = False
    right_below: ClassVar[float | None] = None
    family: ClassVar[str] = ""
    link: ClassVar[str] = "identity"
    known_dispersion: ClassVar[bool] = True

    def outputs(self, classes: int) -> int:
        """Return the number of weight vectors of the model: 1, or one for each class."""
        return 1

    @property
    @abstractmethod
    def functions(self) -> BlockFunctions:
        """The three block functions; a loss without options sets them as a plain class attribute."""

    @property
    def curvature_bound(self) -> float | None:
        """The largest second derivative; a loss without options sets it as a plain class attribute."""
        return None

    @property
    def knee(self) -> float | None:
        """Residual z − y beyond which the loss is linear, so that there is no curvature; None if there is none."""
        return None

    @property
    def smoothing(self) -> float:
        """How far the loss of a row may be above the one that it smooths, and never below it; 0 if it is exact."""
        return 0.0

    @property
    def own_parameters(self) -> int:
        """How many parameters of the distribution were estimated, beside coefficients and dispersion."""
        return 0

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

    def majorant(self, z: Vector, y: Vector) -> Vector:
        """Compute the curvature of a parabola that touches each row's loss at z and lies above it, shape (n,).

        It is used where steps by the curvature itself are too long. By default it is the curvature.
        """
        return self.curvature(z, y)

    def clipped_line(self, y: Vector) -> ClippedLine | None:
        """Return each row's slope as a line that is clipped; None if it is no such line. Only for one output."""
        return None

    def lowest(self, y: Vector) -> Vector:
        """Compute min_z loss(z, y) for each label, shape (n,)."""
        return np.zeros(len(y))

    def conjugate(self, u: Vector, y: Vector) -> Vector:
        """Compute loss*(u, y) = max_z Σ_c u_c z_c − loss(z, y) of each row, the convex conjugate.

        Parameters
        ----------
        u : ndarray, shape (n, outputs)
            Slopes.
        y : ndarray, shape (n,)
            Labels.

        Returns
        -------
        ndarray, shape (n,)
            inf where there is no maximum. A loss without a formula keeps this default, inf everywhere; then the
            certificates with an l1 penalty are looser.
        """
        return np.full(len(y), np.inf)

    def expected_curvature(self, z: Vector, y: Vector) -> Vector:
        """Compute the mean of `curvature` over targets with the mean of the margin; the same for canonical links."""
        return self.curvature(z, y)

    def deviance(self, z: Vector, y: Vector) -> Vector:
        """Compute the deviance of each row, shape (n,): twice what its loss is above the least for its label."""
        return 2.0 * (self.value(z, y) - self.lowest(y))

    @classmethod
    def mean(cls, z: Vector) -> Vector:
        """Compute the expected target for margins of any shape, by the inverse of the link."""
        if cls.link == "identity":
            return z
        with np.errstate(over="ignore"):  # a margin may be far out
            if cls.link == "inverse":
                return np.where(z > 0.0, 1.0 / np.where(z > 0.0, z, 1.0), np.where(np.isnan(z), np.nan, np.inf))
            return np.asarray(np.exp(z) if cls.link == "log" else 1.0 / (1.0 + np.exp(-z)))

    def response(self, y: Vector) -> Vector:
        """Return labels as numbers whose mean is `mean`."""
        return y

    def variance(self, mean: Vector) -> Vector:
        """Compute the variance of targets with these means where the dispersion is 1."""
        return np.ones_like(mean)

    def log_likelihood(self, z: Vector, y: Vector, precision: Vector, dispersion: float) -> Vector:
        """Compute the log likelihood of each row, shape (n,); nan if the loss belongs to no distribution.

        Parameters
        ----------
        z : ndarray, shape (n, outputs)
            Margins.
        y : ndarray, shape (n,)
            Labels.
        precision : ndarray, shape (n,)
            What each row's dispersion is divided by.
        dispersion : float
            The dispersion.
        """
        return np.full(len(y), np.nan)

    def total_log_likelihood(self, y: Vector, precision: Vector) -> Vector:
        """Compute what the log likelihood of a total adds to that of its rate, shape (n,); nan if it is not known.

        Parameters
        ----------
        y : ndarray, shape (n,)
            Totals over exposures.
        precision : ndarray, shape (n,)
            The power of the exposures with which the rates are weighted.
        """
        return np.full(len(y), np.nan)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound the intercept |b*| of an optimum; with several outputs the difference of any two.

        Parameters
        ----------
        labels : LabelStatistics
            Facts about labels and rows.
        above : float
            The loss at the optimum is at most labels.floor + above.
        size : float
            |w*·x| is at most `size` times the norm of x in units of the penalty.

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


def class_probabilities(slopes: Vector, y: Vector) -> Vector:
    """Return the probabilities p of the classes from softmax's slopes p − e_y, shape (n, outputs), in new memory."""
    p = slopes.copy()
    p[np.arange(len(y)), y.astype(np.int64)] += 1.0
    return p


def class_complements(slopes: Vector, y: Vector) -> Vector:
    """Return 1 − p for softmax's slopes p − e_y, to all digits where the row's own class has p near 1."""
    rest = 1.0 - slopes
    own = np.arange(len(y)), y.astype(np.int64)
    rest[own] = -slopes[own]
    return rest


def x_log_x(x: Vector) -> Vector:
    """Compute x log x for x >= 0, with 0 log 0 = 0."""
    return np.asarray(x * np.log(np.where(x > 0.0, x, 1.0)))


def intercept_between_means(labels: LabelStatistics, size: float) -> float:
    """Bound |b*| where some expected targets exp(z) are at most the largest label, and some at least the mean one."""
    if labels.mean_label <= 0.0:
        return math.inf
    return max(abs(math.log(labels.largest_label)), abs(math.log(labels.mean_label))) + size * labels.largest_row


def log_gamma(x: Vector) -> Vector:
    """Compute log Γ(x) for x > 0."""
    found, place = np.unique(x, return_inverse=True)
    return (
        np.array([math.lgamma(v) for v in found])[place].reshape(np.shape(x)) if len(found) else np.zeros(np.shape(x))
    )


SHIFT = 8  # of the argument of digamma and trigamma: from here on their series are exact to rounding


def digamma(x: Vector) -> Vector:
    """Compute the derivative of log Γ(x) for x > 0 (M. Abramowitz, I. Stegun 1964, 6.3.5 and 6.3.18)."""
    far = x + SHIFT
    f = far**-2.0
    series = f * (1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f * (1 / 132 - f * (691 / 32760))))))
    return np.asarray(np.log(far) - 0.5 / far - series - sum(1.0 / (x + k) for k in range(SHIFT)))


def trigamma(x: Vector) -> Vector:
    """Compute the second derivative of log Γ(x) for x > 0 (the same, 6.4.6 and 6.4.12)."""
    far = x + SHIFT
    f = far**-2.0
    series = f * (1 / 6 - f * (1 / 30 - f * (1 / 42 - f * (1 / 30 - f * (5 / 66 - f * (691 / 2730))))))
    return np.asarray(1.0 / far + 0.5 * f + series / far + sum((x + k) ** -2.0 for k in range(SHIFT)))


LINKS_NOT_CONVEX = {
    "inverse-gaussian": "its loss is convex for all margins with the inverse link alone (mean 1/z): with the log "
    "link it is not convex, so no optimum can be certified, and with 1/mean² margins must be positive; use gamma, or "
    "tweedie[power=1.9], for the log link",
}  # losses whose links are asked for, and why they have no other


def loss_targets() -> dict[str, str]:
    """Return the target that each loss takes, by the name of the loss."""
    return {name: member.target for name, member in Loss.known().items()}
