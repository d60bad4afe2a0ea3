"""Memory that grows without a copy and goes back to the system at once: what the heap frees, the process keeps."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST = 1 << 16  # bytes; room that is not written to takes no memory


def anonymous(nbytes: int) -> mmap.mmap:
    """Give zeros that belong to this process alone."""
    return mmap.mmap(-1, max(1, nbytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Pile:
    """Numbers of one type, appended array by array, read once as one array."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._room: mmap.mmap | None = None

    def add(self, x: NDArray[Any]) -> None:
        """Append numbers, in this pile's type."""
        wire = np.ascontiguousarray(x, self._dtype).view(np.uint8)
        if not wire.size:
            return
        room = self._room or anonymous(FIRST)
        if room.tell() + wire.size > len(room):
            room = _larger(room, 2 * (room.tell() + wire.size))
        room.write(wire.data)
        self._room = room

    @contextmanager
    def taken(self) -> Iterator[NDArray[Any]]:
        """Lend all numbers; afterwards the pile is empty and its memory with the system."""
        room, self._room = self._room, None
        if room is None:
            yield np.empty(0, self._dtype)
            return
        yield np.frombuffer(room, self._dtype, room.tell() // self._dtype.itemsize)
        # Unmapped when the last array that looks at it is gone.


def _larger(room: mmap.mmap, nbytes: int) -> mmap.mmap:
    try:
        room.resize(nbytes)
    except SystemError:  # this system cannot: copy
        grown = anonymous(nbytes)
        grown.write(room[: room.tell()])
        return grown
    return room
