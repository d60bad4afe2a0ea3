"""Frames with words, booleans and dates for `mpiopt.fit` and the estimators: encoded on all ranks alike."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.config.columns import ColumnOptions, split_names
from mpiopt.core.config.registry import nearest
from mpiopt.data.tables.column import Column

if TYPE_CHECKING:
    from mpiopt.data.tables.frame import EncodedFrame

NOT_OF_FRAMES = ("target", "weights", "offset", "exposure", "titles")  # options of tables in files


def encoded_frame(x: Any, columns: Mapping[str, Any] | None, ranks: Comm) -> EncodedFrame | None:
    """Return the features of this rank's frame; None if the rows are numbers and no options are set; collective."""
    with ranks.agree_on_errors():
        options = column_options(columns)
        frame = has_words(x)
    frame = bool(ranks.max(np.array([frame]))[0])  # a rank may have no rows, and then no words
    with ranks.agree_on_errors():
        if (frame or columns is not None) and not hasattr(x, "columns"):
            raise ValueError("words and columns=… need a frame with titles on each rank: pandas, Polars or Arrow")
    if not frame and columns is None:
        return None
    from mpiopt.data.tables.frame import encode_frame

    return encode_frame(x, options, ranks)


def has_words(x: Any) -> bool:
    """Return whether rows are a frame whose columns must be encoded."""
    if not (hasattr(x, "columns") or hasattr(x, "column_names")):
        return False
    from mpiopt.data.tables.frame import is_frame

    return is_frame(x)


def applied_frame(x: Any, columns: Sequence[Column]) -> Any:
    """Return the features of a frame for a model with these columns; a warning tells of new levels and gaps."""
    if not columns:
        return x
    from mpiopt.data.tables.frame import apply_to_frame, is_frame

    if not (is_frame(x) or hasattr(x, "columns")):
        raise ValueError("the model was fitted to a frame with words: give a frame with the same columns")
    matrix, notes = apply_to_frame(x, columns)
    for note in notes:
        warnings.warn(note, stacklevel=4)
    return matrix


def column_options(columns: Mapping[str, Any] | None) -> ColumnOptions:
    """Return the options of columns; ValueError at an unknown one."""
    known = {f.name: f for f in dataclasses.fields(ColumnOptions) if f.name not in NOT_OF_FRAMES}
    found: dict[str, Any] = {}
    for name, value in (columns or {}).items():
        if name not in known:
            raise ValueError(f"columns has no option {name!r}{nearest(name, known)}; options: {', '.join(known)}")
        if isinstance(value, Mapping):
            value = [f"{title}={rule}" for title, rule in value.items()]
        found[name] = value if isinstance(value, int) else _names(value)
    return ColumnOptions(**found)


def _names(value: Any) -> tuple[str, ...]:
    return split_names(value) if isinstance(value, str) else tuple(map(str, value))
