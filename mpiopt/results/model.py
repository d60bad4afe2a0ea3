"""A fitted model in the units of the input file, and its predictions from margins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.coordinates import Coordinates
from mpiopt.data.shard import DenseRows, Rows
from mpiopt.kernels.column_moments import centred_margins
from mpiopt.objective import passes
from mpiopt.objective.losses.base import Loss

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

CHUNK = 1024  # rows that are centred at a time
WITH_PROBABILITIES = ("logistic", "softmax")  # the losses that are the logarithm of a probability of classes


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A model whose margins for a row x of the input file are coef · x + intercept.

    They are computed as coef · (x - centre) + intercept_at_centre, the same number: where columns are far from 0
    against their spread, coef · x and the intercept are large and nearly cancel. Of sparse rows, an entry that is
    missing is x = 0.
    """

    coef: Matrix  # (outputs, d)
    intercept: Vector  # (outputs,)
    classes: NDArray[np.generic] | None = None  # labels as in the file; None for real targets
    feature_mean: Vector | None = None  # (d,) means of the columns in training; None if they were not scaled
    feature_scale: Vector | None = None  # (d,) divisors of the columns in training
    feature_names: list[str] | None = None
    centre: Vector | None = None  # (d,) what training subtracted from the columns; None: zeros
    intercept_at_centre: Vector | None = None  # (outputs,) margins at x = centre; None: the intercept

    def margins(self, rows: Rows) -> Matrix:
        """Compute the margins of rows of the input file, shape (n, outputs).

        Parameters
        ----------
        rows : DenseRows or CsrRows
            Rows of d columns; sparse ones may have fewer.
        """
        coef = np.ascontiguousarray(self.coef[:, : rows.width])
        if self.centre is None or self.intercept_at_centre is None:
            return passes.margins(rows, coef) + self.intercept
        found = np.repeat(self.intercept_at_centre[None], len(rows), axis=0)
        if isinstance(rows, DenseRows):
            for begin in range(0, len(rows), CHUNK):
                x = rows.values[begin : begin + CHUNK, : len(self.centre)] - self.centre
                found[begin : begin + CHUNK] += x @ coef.T
            return found
        centred = np.flatnonzero(self.centre)
        centred_margins(rows.indptr, rows.indices, rows.values, centred, self.coef, self.centre, found)
        return found


@dataclass(frozen=True, eq=False)
class FileUnits:
    """From the columns in which algorithms work to those of the file; arguments as of `in_file_units`."""

    mean: Vector
    scale: Vector
    coordinates: Coordinates

    @cached_property
    def centre(self) -> Vector:
        """What training subtracted from the columns, (d,)."""
        return np.asarray(self.mean + self.scale * self.coordinates.centre)

    @cached_property
    def lost(self) -> Vector:
        """How far the rounded centre is from the exact one, in scaled columns, (d,)."""
        return np.asarray(self.coordinates.centre - (self.centre - self.mean) / self.scale)

    @cached_property
    def changes(self) -> tuple[bool, bool]:
        """Whether columns were scaled, and whether some were centred."""
        return bool(np.any(self.mean != 0.0) or np.any(self.scale != 1.0)), bool(self.centre.any())

    def model(
        self,
        w: Matrix,
        features: int,
        intercept: bool,
        classes: NDArray[np.generic] | None = None,
        names: list[str] | None = None,
    ) -> FittedModel:
        """Return a model in the columns of the file."""
        scaled, far = self.changes
        of_scaled = w[:, :features] / self.coordinates.scale
        coef = of_scaled / self.scale
        constant = w[:, features] + self.coordinates.label_origin if intercept else np.zeros(len(w))
        constant -= of_scaled @ self.lost
        return FittedModel(
            coef=coef,
            intercept=constant - coef @ self.centre,
            classes=classes,
            feature_mean=self.mean if scaled else None,
            feature_scale=self.scale if scaled else None,
            feature_names=names,
            centre=self.centre if far else None,
            intercept_at_centre=constant if far else None,
        )


def in_file_units(
    w: Matrix,
    features: int,
    intercept: bool,
    mean: Vector,
    scale: Vector,
    coordinates: Coordinates,
    classes: NDArray[np.generic] | None = None,
    names: list[str] | None = None,
) -> FittedModel:
    """Return the model without the scaling of the columns and without the coordinates of the algorithm.

    With u = (x - mean)/scale and v = (u - coordinates.centre)/coordinates.scale, training saw v, and w · v + b is
    coef · (x - centre) + b up to how far the rounded centre mean + scale · coordinates.centre is from the exact one.
    The intercept gets back the origin that the labels lost.

    Parameters
    ----------
    w : ndarray, (outputs, width)
        The model as it was trained: coefficients, the intercept in column `features`, and zeros after it.
    features : int
        Number of columns d.
    intercept : bool
        Whether `w` has an intercept.
    mean, scale : ndarray, (d,)
        What was subtracted from the columns, and by what they were divided.
    coordinates : Coordinates
        Those of the scaled columns in which the algorithm worked.
    classes : ndarray, optional
        The labels.
    names : list of str, optional
        Names of the columns.
    """
    return FileUnits(mean, scale, coordinates).model(w, features, intercept, classes, names)


def class_names(classes: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return labels as they are written: whole numbers without a decimal point."""
    found = np.asarray(classes)
    integral = found.dtype.kind == "f" and (found == np.floor(found)).all()
    return found.astype(np.int64) if integral else found


def expected(z: Matrix, loss: str) -> Matrix:
    """Return the expected target for each margin."""
    return Loss.known()[loss].mean(z)


def probabilities(z: Matrix, loss: str) -> Matrix:
    """Return the probability of each class, (n, classes), in the order of the classes, from margins (n, outputs).

    Raises
    ------
    ValueError
        If the loss is not the logarithm of a probability.
    """
    p = np.exp(_shifted(z, loss))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def log_probabilities(z: Matrix, loss: str) -> Matrix:
    """Return the logarithm of the probability of each class, (n, classes); like `probabilities`.

    It is finite where a probability is too small for a number of 64 bits.
    """
    shifted = _shifted(z, loss)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _shifted(z: Matrix, loss: str) -> Matrix:
    """Return the margins of all classes, (n, classes), with 0 as the largest of each row."""
    if loss not in WITH_PROBABILITIES:
        raise ValueError(f"probabilities come from the losses {' and '.join(WITH_PROBABILITIES)}, not from {loss}")
    both = np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z
    return np.asarray(both - both.max(axis=1, keepdims=True))
