"""What an algorithm must remember: a dataclass whose field types say how each field lies over the ranks.

From the layout alone come the checkpoint, the restart on another number of ranks, and replication.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Wire = NDArray[np.uint8]


class Layout(enum.Enum):
    """How a field of a state lies over the ranks."""

    REPLICATED = "equal on every rank"
    SHARDED = "axis 0 follows the samples of the rank, in the order of its shard's rows"
    PER_RANK = "private to one rank; means nothing on another number of ranks"
    DERIVED = "computed from the rest by Algorithm.rebuild; never stored"


Replicated = Annotated[NDArray[Any], Layout.REPLICATED]
Sharded = Annotated[NDArray[Any], Layout.SHARDED]
PerRank = Annotated[NDArray[Any], Layout.PER_RANK]
Derived = Annotated[Any, Layout.DERIVED]


def layouts(state: object) -> dict[str, Layout]:
    """Return the layout of every stored field of `state` (a dataclass instance or class), by name."""
    kind = state if isinstance(state, type) else type(state)
    hints = get_type_hints(kind, include_extras=True)
    found = {f.name: get_args(hints[f.name])[1] for f in dataclasses.fields(kind)}
    return {name: layout for name, layout in found.items() if layout is not Layout.DERIVED}


def pack(state: object) -> Wire:
    """Return the stored fields of this rank as one byte string, in the order of the fields."""
    parts = [np.ascontiguousarray(getattr(state, name)).reshape(-1).view(np.uint8) for name in layouts(state)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint8)


def unpack(state: object, packed: Wire) -> None:
    """Set the stored fields of `state`, in place, from what `pack` returned."""
    start = 0
    for name in layouts(state):
        array = getattr(state, name)
        part = packed[start : start + array.nbytes]
        array[...] = part.view(array.dtype).reshape(array.shape)
        start += array.nbytes
