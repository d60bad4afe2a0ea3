"""Checks of what the estimators take: rows, labels and targets, accepted or refused as scikit-learn does it.

The checks raise scikit-learn's own exceptions where it is installed, since its tools look for them. It is imported
only then.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NotFitted(ValueError, AttributeError):
    """The estimator has no model yet; scikit-learn's NotFittedError is raised instead where it is installed."""


def checked_rows(x: Any, columns: int | None, name: str) -> Any:
    """Return rows as an array or a sparse matrix.

    Parameters
    ----------
    x : array or sparse matrix, (n, d)
        The rows.
    columns : int or None
        Number of columns of the model; None before it is fitted.
    name : str
        Name of the estimator, for the message.

    Raises
    ------
    ValueError
        If the rows are not two-dimensional, real and finite, or have not as many columns as the model.
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


def checked_labels(y: Any) -> NDArray[Any]:
    """Return labels in one dimension, with a warning for a column of them; ValueError without labels."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    found = np.asarray(y)
    if found.ndim == 2 and found.shape[1] == 1:
        message = "A column-vector y was passed when a 1d array was expected"
        warnings.warn(message, _sklearn_exception("DataConversionWarning", UserWarning), stacklevel=2)
        found = found[:, 0]
    return found


def refuse_empty(matrix: Any) -> None:
    """Raise ValueError without rows or columns; one of several ranks may have no rows, a single rank may not."""
    if matrix.shape[0] == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={matrix.shape}) while a minimum of 1 is required.")
    if matrix.shape[1] == 0:
        raise ValueError(f"Found array with 0 feature(s) (shape={matrix.shape}) while a minimum of 1 is required.")


def refuse_continuous(y: NDArray[Any]) -> None:
    """Raise ValueError for numbers that are no classes."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity (inf)")
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError("Unknown label type: continuous. A classifier needs classes; use Regressor for real targets")


def real_targets(y: NDArray[Any]) -> NDArray[Any]:
    """Return targets as numbers; ValueError if they are not."""
    if y.dtype.kind in "fiub":
        return y
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError("Unknown label type: the targets of a regressor are numbers") from None


def not_fitted(name: str) -> Exception:
    """Return the error for an estimator that was not fitted."""
    kind = _sklearn_exception("NotFittedError", NotFitted)
    error: Exception = kind(f"This {name} instance is not fitted yet. Call 'fit' before using this estimator.")
    return error


def _numbers(x: Any) -> NDArray[Any]:
    matrix = np.asarray(x)
    if matrix.dtype.kind in "fiubc":
        return matrix
    try:
        return matrix.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X holds a value that is not a number: {error}") from None


def _sklearn_exception(name: str, ours: Any) -> Any:
    try:
        from sklearn import exceptions
    except ImportError:
        return ours
    return getattr(exceptions, name)
