"""Open HDF5 files with clear errors; put whole files in place: partial, fsync, rename, fsync of the folder."""

from __future__ import annotations

from pathlib import Path

import h5py

from mpiopt.overwriting import cause

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
