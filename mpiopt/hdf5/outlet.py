"""A file for h5py to write into that never fails under HDF5's hands: it keeps the error for later.

HDF5 1.10 crashes the process when a file cannot be closed because the disk is full.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class Outlet(io.FileIO):
    """A new file; after the first error nothing more is written. Call `check` when HDF5 has closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all bytes, or keep the error; give their number in either case."""
        wire = memoryview(data).cast("B")
        done = 0
        while done < len(wire) and self._error is None:
            try:
                done += super().write(wire[done:]) or 0
            except OSError as error:
                self._error = error
        return len(wire)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, or keep the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def check(self) -> None:
        """Raise the first error that was met, if any."""
        if self._error is not None:
            raise self._error
