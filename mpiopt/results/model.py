"""A fitted model in the units of the input file, and its predictions from margins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A model whose margins for a row x of the input file are coef · x + intercept."""

    coef: Matrix  # (outputs, d)
    intercept: Vector  # (outputs,)
    classes: NDArray[np.generic] | None = None  # labels as in the file; None for real targets
    feature_mean: Vector | None = None  # (d,) means of the columns in training; None if they were not scaled
    feature_scale: Vector | None = None  # (d,) divisors of the columns in training
    feature_names: list[str] | None = None


def in_file_units(
    w: Matrix,
    features: int,
    intercept: bool,
    mean: Vector,
    scale: Vector,
    classes: NDArray[np.generic] | None = None,
    names: list[str] | None = None,
) -> FittedModel:
    """Return the model without the scaling of the columns.

    Training saw (x - mean)/scale, and w · (x - mean)/scale + b = (w/scale) · x + (b - w · mean/scale).

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
    classes : ndarray, optional
        The labels.
    names : list of str, optional
        Names of the columns.
    """
    coef = w[:, :features] / scale
    constant = w[:, features].copy() if intercept else np.zeros(len(w))
    scaled = bool(np.any(mean != 0.0) or np.any(scale != 1.0))
    return FittedModel(
        coef, constant - coef @ mean, classes, mean if scaled else None, scale if scaled else None, names
    )


def class_names(classes: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return labels as they are written: whole numbers without a decimal point."""
    found = np.asarray(classes)
    whole = found.dtype.kind == "f" and (found == np.floor(found)).all()
    return found.astype(np.int64) if whole else found


def expected(z: Matrix, loss: str) -> Matrix:
    """Return the expected target for each margin."""
    return np.asarray(np.exp(z)) if loss == "poisson" else z


def probabilities(z: Matrix, loss: str) -> Matrix:
    """Return the probability of each class, (n, classes), in the order of the classes, from margins (n, outputs).

    Raises
    ------
    ValueError
        If the loss is not the logarithm of a probability.
    """
    if loss not in ("logistic", "softmax"):
        raise ValueError(f"probabilities come from the losses logistic and softmax, not from {loss}")
    both = np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z
    p = np.exp(both - both.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))
