"""A fitted model in the units of the input file, ready to be written, read and applied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedModel:
    """Margins of a row x of the input file are coef · x + intercept."""

    coef: Matrix  # (outputs, d)
    intercept: Vector  # (outputs,)
    classes: NDArray[np.generic] | None = None  # labels as in the file; None for real targets
    feature_mean: Vector | None = None  # (d,) of the columns while training; None where they were not scaled
    feature_scale: Vector | None = None  # (d,)
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
    """Undo the scaling of the columns.

    Training saw (x - mean)/scale, so w · (x - mean)/scale + b = (w/scale) · x + (b - w · mean/scale).
    `w` is (outputs, width) with the intercept, where there is one, in column `features` and padding beyond.
    """
    coef = w[:, :features] / scale
    constant = w[:, features].copy() if intercept else np.zeros(len(w))
    scaled = bool(np.any(mean != 0.0) or np.any(scale != 1.0))
    return FittedModel(
        coef, constant - coef @ mean, classes, mean if scaled else None, scale if scaled else None, names
    )


def class_names(classes: NDArray[np.generic]) -> NDArray[np.generic]:
    """Give the labels as they are written: whole numbers without a point."""
    found = np.asarray(classes)
    whole = found.dtype.kind == "f" and (found == np.floor(found)).all()
    return found.astype(np.int64) if whole else found


def expected(z: Matrix, loss: str) -> Matrix:
    """Give the expected target for each margin."""
    return np.asarray(np.exp(z)) if loss == "poisson" else z


def probabilities(z: Matrix, loss: str) -> Matrix:
    """Give the probability of each class, (n, classes), in the order of the classes.

    Raises
    ------
    ValueError
        For a loss that is no logarithm of a probability.
    """
    if loss not in ("logistic", "softmax"):
        raise ValueError(f"probabilities come from the losses logistic and softmax, not from {loss}")
    both = np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z
    p = np.exp(both - both.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))
