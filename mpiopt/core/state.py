"""What an algorithm must remember: a dataclass whose field types say how each field lies over the ranks.

From the layout alone come the checkpoint, the restart on another number of ranks, and replication.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import TYPE_CHECKING, Annotated, Any, Self, get_args, get_type_hints, overload

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


class Slot:
    """A number of a `NamedVector` under a name: reading gives a float, assigning stores one.

    Parameters
    ----------
    place : int
        Index of the number in the stored vector. Two slots may share a place where never both are in use.
    """

    def __init__(self, place: int) -> None:
        self.place = place

    def __set_name__(self, owner: type[NamedVector], name: str) -> None:
        if hasattr(np.ndarray, name):
            raise TypeError(f"{owner.__name__}.{name} hides an attribute of numpy arrays: choose another name")

    @overload
    def __get__(self, vector: None, owner: type[NamedVector]) -> Self: ...
    @overload
    def __get__(self, vector: NamedVector, owner: type[NamedVector]) -> float: ...
    def __get__(self, vector: NamedVector | None, owner: type[NamedVector]) -> Self | float:
        return self if vector is None else vector.item(self.place)

    def __set__(self, vector: NamedVector, value: float) -> None:
        vector[self.place] = value


if TYPE_CHECKING:
    _Base = np.ndarray[Any, np.dtype[np.float64]]
else:
    _Base = np.ndarray


class NamedVector(_Base):
    """A float64 vector whose numbers have names, so that a state stores all of them as one array.

    A subclass names the numbers by class attributes of type `Slot`. Checkpoints and messages see an array.

    Examples
    --------
    >>> class Control(NamedVector):
    ...     scale = Slot(0)  # factor of the step size
    ...     since = Slot(1)  # epochs since the last refresh
    >>> control = Control.zeros()
    >>> control.scale = 2.0
    >>> control.scale, control.tolist()
    (2.0, [2.0, 0.0])
    """

    @classmethod
    def zeros(cls) -> Self:
        """Return a vector of zeros that has a place for every slot of the class."""
        return np.zeros(_length_of(cls)).view(cls)  # type: ignore[arg-type]


@functools.cache
def _length_of(kind: type) -> int:
    slots = [slot.place for base in kind.__mro__ for slot in vars(base).values() if isinstance(slot, Slot)]
    return max(slots) + 1


def layouts(state: object) -> dict[str, Layout]:
    """Return the layout of every stored field of `state` (a dataclass instance or class), by name."""
    return dict(_layouts_of(state if isinstance(state, type) else type(state)))


@functools.cache  # evaluating the hints anew took a quarter of the time of a short run
def _layouts_of(kind: Any) -> dict[str, Layout]:
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
