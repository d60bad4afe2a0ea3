"""Check the arrays of a Python caller before a kernel, or scipy's compiled code, reads them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_COLUMNS = (1 << 31) - 1  # indices are int32
NUMBERS = "biuf"


def check_numbers(name: str, values: Any) -> NDArray[Any]:
    """Return an array of real numbers; ValueError for masked entries, complex numbers, dates, bytes."""
    _refuse_masked(name, values)
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise ValueError(f"{name} holds complex numbers; real ones are needed: give its real part")
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name} holds objects that are not numbers") from None
    if array.dtype.kind not in NUMBERS:
        raise ValueError(f"{name} has the type {array.dtype}; numbers are needed")
    return array


def check_labels(values: Any) -> NDArray[Any]:
    """Return labels as an array of numbers or of text; ValueError for masked ones, None, NaN among text, bytes."""
    _refuse_masked("y", values)
    array = np.asarray(values)
    if array.dtype.kind == "S":
        raise ValueError("y holds bytes; text or numbers are needed: decode it")
    if array.dtype.kind == "O":
        labels = array.reshape(-1).tolist()
        kinds = {*map(type, labels)}  # of which there are few, whatever the number of labels
        allowed = tuple(kind for kind in kinds if issubclass(kind, str | int | float | np.generic))
        wrong = [v for v in labels if not isinstance(v, allowed)] if len(allowed) < len(kinds) else []
        if any(issubclass(kind, float) for kind in kinds):
            wrong += [v for v in labels if isinstance(v, float) and not math.isfinite(v)]
        if wrong:
            raise ValueError(f"y holds {wrong[0]!r}; text or finite numbers are needed")
    elif array.dtype.kind not in NUMBERS + "U":
        raise ValueError(f"y has the type {array.dtype}; text or numbers are needed")
    return array


def check_sparse(x: Any) -> None:
    """Raise ValueError for a scipy.sparse matrix whose indices do not fit it: scipy itself reads them unchecked."""
    if len(x.shape) != 2:
        raise ValueError(f"x has the shape {x.shape}; it must be (rows, columns)")
    (n, d), form = x.shape, getattr(x, "format", "")
    if d > MOST_COLUMNS:
        raise ValueError(f"x has {d:,} columns; at most {MOST_COLUMNS:,} are possible")
    check_numbers("x", getattr(x, "data", np.zeros(0)) if form in ("csr", "csc", "coo") else np.zeros(0))
    if form in ("csr", "csc"):
        across, along = (n, d) if form == "csr" else (d, n)
        _check_compressed(x.indptr, x.indices, x.data, across, along)
    elif form == "coo":
        for indices, size in ((x.row, n), (x.col, d)):
            _check_range(indices, size)
    elif form == "bsr":
        rows, columns = x.blocksize
        _check_compressed(x.indptr, x.indices, x.data, n // rows, d // columns)


def _check_compressed(indptr: Any, indices: Any, data: Any, across: int, along: int) -> None:
    pointer = np.asarray(indptr)
    stored = min(len(indices), len(data))
    if pointer.shape != (across + 1,) or pointer[0] != 0 or pointer[-1] > stored or (np.diff(pointer) < 0).any():
        raise ValueError(f"x: indptr must have {across + 1} entries that ascend from 0 to at most {stored}")
    _check_range(np.asarray(indices)[: pointer[-1]], along)


def _check_range(indices: Any, size: int) -> None:
    found = np.asarray(indices)
    if len(found) and (found.min() < 0 or found.max() >= size):
        wrong = found[(found < 0) | (found >= size)][0]
        raise ValueError(f"x: found index {wrong}; indices from 0 to {size - 1} are allowed")


def _refuse_masked(name: str, values: Any) -> None:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries; fill them in, or leave out their rows")
