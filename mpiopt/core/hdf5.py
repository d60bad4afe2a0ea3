"""Open HDF5 files with clear errors; put whole files in place: partial, fsync, rename, fsync of the folder.

A file for h5py to write into that never fails under HDF5's hands: it keeps the error for later.

HDF5 1.10 crashes the process when a file cannot be closed because the disk is full.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py

from mpiopt.core.files import cause

FORMAT = 1  # of results and of checkpoints; raised when a reader of before would misread
RESULT = "mpiopt result"
CHECKPOINT = "mpiopt checkpoint"
# Object headers with checksums, and still readable by HDF5 1.8 and 1.10 tools.
LIBVER = ("v108", "v110")


def open_read(path: Path) -> h5py.File:
    """Open for reading.

    Raises
    ------
    ValueError
        If the file is missing, a folder, no HDF5 file, or truncated; one line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        return h5py.File(path, "r", locking="best-effort")
    except PermissionError:
        raise ValueError(f"{path}: permission denied") from None
    except OSError as error:
        raise ValueError(f"{path}: {_why_unreadable(str(error))}") from None


def check_format(f: h5py.File, path: Path, kind: str) -> None:
    """Refuse, with ValueError, a file that is not of this kind and format."""
    found = str(f.attrs.get("kind", "an HDF5 file without the attribute 'kind'"))
    if found != kind:
        raise ValueError(f"{path}: expected an {kind}, found {found}")
    number = int(f.attrs.get("format", -1))
    if number != FORMAT:
        raise ValueError(f"{path}: {kind} of format {number}; this mpiopt reads format {FORMAT}")


def _why_unreadable(message: str) -> str:
    if "truncated" in message:
        return "truncated HDF5 file"
    if "signature" in message:
        return "not an HDF5 file"
    return f"not a readable HDF5 file ({cause(OSError(message))})"


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
