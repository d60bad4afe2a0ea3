"""The titles of a frame's columns: those of the fit are found again in other frames, whatever their order."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.registry import nearest

SHOWN = 5  # titles in a message


def feature_names(x: Any) -> NDArray[Any] | None:
    """Return the titles of a frame's columns; None without titles, or if they are no text.

    Raises
    ------
    ValueError
        If only some of the titles are text.
    """
    columns = getattr(x, "column_names", getattr(x, "columns", None))  # of Arrow, else of pandas and Polars
    if columns is None:
        return None
    names = np.asarray(list(columns), dtype=object)
    kinds = sorted({type(name).__name__ for name in names})
    text = [isinstance(name, str) for name in names]
    if any(text) and not all(text):
        raise ValueError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types; convert all titles to text, or none"
        )
    return names if len(names) and all(text) else None


def different_names(names: NDArray[Any] | None, ranks: Comm) -> ValueError | None:
    """Return an error if the frames of the ranks have different titles; collective."""
    text = json.dumps(None if names is None else names.tolist()).encode()
    others = {part.tobytes() for part in ranks.allgather(np.frombuffer(text, np.uint8).copy())}
    return ValueError("the frames of the ranks have different feature names") if len(others) > 1 else None


def matched(x: Any, fitted: NDArray[Any] | None, estimator: str) -> Any:
    """Return rows whose columns are those of the fit: a frame's are found by title, in any order.

    Parameters
    ----------
    x : array, sparse matrix or frame
        The rows.
    fitted : ndarray of str or None
        The titles of the fit.
    estimator : str
        Name of the estimator, for messages. A warning tells of columns that are not used, and of titles that only one
        side has.

    Raises
    ------
    ValueError
        If a title of the fit is missing, or two columns have it.
    """
    names = feature_names(x)
    if fitted is None or names is None:
        if names is not None:
            _warn(f"X has feature names, but {estimator} was fitted without feature names")
        elif fitted is not None:
            _warn(f"X does not have valid feature names, but {estimator} was fitted with feature names")
        return x
    there, wanted = list(names), list(fitted)
    if there == wanted:
        return x
    others = [name for name in there if name not in {*wanted}]
    missing = [name for name in wanted if name not in {*there}]
    if missing:
        listed = "".join(f"\n- {name}{nearest(name, others)}" for name in missing[:SHOWN])
        more = "\n- ..." if len(missing) > SHOWN else ""
        raise ValueError(f"Feature names seen at fit time, yet now missing:{listed}{more}")
    twice = next((name for name in wanted if there.count(name) > 1 or wanted.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two columns are called {twice!r}; the features cannot be matched by title")
    if others:
        count = "1 column is" if len(others) == 1 else f"{len(others)} columns are"
        _warn(f"{count} not used: {', '.join(others[:SHOWN])}" + (", …" if len(others) > SHOWN else ""))
    return x[wanted]


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=5)
