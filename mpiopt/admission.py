"""What the estimators take: rows, labels and weights as scikit-learn's own estimators would take or refuse them.

Its exceptions are used where it is installed, since its tools look for them; it is imported when they are needed.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NotFitted(ValueError, AttributeError):
    """The estimator has no model yet; where scikit-learn is installed its NotFittedError is raised instead."""


def rows(x: Any, columns: int | None, name: str) -> Any:
    """Give rows as an array or a sparse matrix.

    Raises
    ------
    ValueError
        If they are no finite real numbers in two dimensions, or not as many columns as the model has.
    """
    matrix = x if hasattr(x, "tocsr") else _numbers(x)
    if matrix.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {matrix.ndim}D array instead. Reshape your data: (-1, 1) for a single feature, "
            "(1, -1) for a single sample."
        )
    if np.issubdtype(matrix.dtype, np.complexfloating):
        raise ValueError("Complex data not supported")
    values = matrix.tocsr().data if hasattr(matrix, "tocsr") else matrix
    if not np.isfinite(values).all():
        raise ValueError("Input X contains NaN or infinity (inf)")
    if columns is not None and matrix.shape[1] != columns:
        raise ValueError(f"X has {matrix.shape[1]} features, but {name} is expecting {columns} features as input")
    return matrix


def labels(y: Any) -> NDArray[Any]:
    """Give labels in one dimension; a column is taken with a warning.

    Raises
    ------
    ValueError
        If there are none.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    found = np.asarray(y)
    if found.ndim == 2 and found.shape[1] == 1:
        words = "A column-vector y was passed when a 1d array was expected"
        warnings.warn(words, _theirs("DataConversionWarning", UserWarning), stacklevel=2)
        found = found[:, 0]
    return found


def enough(matrix: Any) -> None:
    """Refuse no rows, or no columns; ranks among others may well have no rows."""
    if matrix.shape[0] == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={matrix.shape}) while a minimum of 1 is required.")
    if matrix.shape[1] == 0:
        raise ValueError(f"Found array with 0 feature(s) (shape={matrix.shape}) while a minimum of 1 is required.")


def classes(y: NDArray[Any]) -> None:
    """Refuse numbers that are no classes: real ones, of which most differ."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity (inf)")
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError("Unknown label type: continuous. A classifier needs classes; use Regressor for real targets")


def numbers(y: NDArray[Any]) -> NDArray[Any]:
    """Give targets as numbers, or refuse them."""
    if y.dtype.kind in "fiub":
        return y
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError("Unknown label type: the targets of a regressor are numbers") from None


def not_fitted(name: str) -> Exception:
    """Give the error for an estimator that was not fitted."""
    kind = _theirs("NotFittedError", NotFitted)
    error: Exception = kind(f"This {name} instance is not fitted yet. Call 'fit' before using this estimator.")
    return error


def tags(kind: str) -> Any:
    """Say to scikit-learn, which alone asks, what an estimator of this kind can do."""
    from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

    return Tags(
        estimator_type=kind,
        target_tags=TargetTags(required=True),
        transformer_tags=None,
        classifier_tags=ClassifierTags() if kind == "classifier" else None,
        regressor_tags=RegressorTags() if kind == "regressor" else None,
        input_tags=InputTags(sparse=True),
    )


def _numbers(x: Any) -> NDArray[Any]:
    matrix = np.asarray(x)
    if matrix.dtype.kind in "fiubc":
        return matrix
    try:
        return matrix.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X holds what is no number: {error}") from None


def _theirs(name: str, ours: Any) -> Any:
    try:
        from sklearn import exceptions
    except ImportError:
        return ours
    return getattr(exceptions, name)
