"""Open HDF5 files with clear errors, and let h5py write to a full disk without a crash."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py

from mpiopt.core.files import cause

FORMAT = 1  # of results and checkpoints; increased when earlier versions would misread a file
RESULT = "mpiopt result"
CHECKPOINT = "mpiopt checkpoint"
# Object headers with checksums that tools of HDF5 1.8 and 1.10 can still read.
LIBVER = ("v108", "v110")


def open_read(path: Path) -> h5py.File:
    """Open for reading; ValueError, in one line, if the file is missing, a folder, not HDF5, or truncated."""
    if not path.is_file():
        raise ValueError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        return h5py.File(path, "r", locking="best-effort")
    except PermissionError:
        raise ValueError(f"{path}: permission denied") from None
    except OSError as error:
        raise ValueError(f"{path}: {_why_unreadable(str(error))}") from None


def check_format(f: h5py.File, path: Path, kind: str) -> None:
    """Raise ValueError if a file is not of this kind and format."""
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


class ErrorKeepingFile(io.FileIO):
    """A new file for h5py that keeps its first error, after which it writes nothing; call `check` after closing.

    HDF5 1.10 crashes the process if a file cannot be closed because the disk is full.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all bytes, or keep the error; return their number in either case."""
        raw = memoryview(data).cast("B")
        done = 0
        while done < len(raw) and self._error is None:
            try:
                done += super().write(raw[done:]) or 0
            except OSError as error:
                self._error = error
        return len(raw)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, or keep the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def check(self) -> None:
        """Raise the first error, if any."""
        if self._error is not None:
            raise self._error
