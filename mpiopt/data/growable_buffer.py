"""A buffer that grows without a copy and returns its memory to the system; the process keeps what a heap frees."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST = 1 << 16  # bytes of a new buffer; the system counts only those that are written
HUGE = 1 << 21  # bytes of a huge page: one fault, where small pages take longer than to copy rows


def anonymous_memory(nbytes: int) -> mmap.mmap:
    """Return zeros that belong to this process alone."""
    memory = mmap.mmap(-1, max(1, nbytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if nbytes >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class GrowableBuffer:
    """Numbers of one type, appended array by array and read once as one array."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._memory: mmap.mmap | None = None

    def append(self, x: NDArray[Any]) -> None:
        """Append numbers, converted to the type of the buffer."""
        raw = np.ascontiguousarray(x, self._dtype).view(np.uint8)
        if not raw.size:
            return
        memory = self._memory or anonymous_memory(FIRST)
        if memory.tell() + raw.size > len(memory):
            memory = _grown(memory, 2 * (memory.tell() + raw.size))
        memory.write(raw.data)
        self._memory = memory

    @contextmanager
    def taken(self) -> Iterator[NDArray[Any]]:
        """Yield all numbers as one array; afterwards the buffer is empty and its memory returned to the system."""
        memory, self._memory = self._memory, None
        if memory is None:
            yield np.empty(0, self._dtype)
            return
        yield np.frombuffer(memory, self._dtype, memory.tell() // self._dtype.itemsize)
        # The memory is unmapped when the last array that uses it is gone.


def _grown(memory: mmap.mmap, nbytes: int) -> mmap.mmap:
    try:
        memory.resize(nbytes)
    except SystemError:  # this system cannot grow it in place: copy
        grown = anonymous_memory(nbytes)
        grown.write(memory[: memory.tell()])
        return grown
    return memory
