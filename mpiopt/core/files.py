"""Write files whole or not at all, and never over the data that is read."""

from __future__ import annotations

import os
import re
from pathlib import Path


def refuse_onto(out: str, *sources: str) -> None:
    """Raise ValueError if an output is one of the files that are read, under the same or another name."""
    for source in filter(None, sources if out else ()):
        if Path(out).exists() and Path(source).exists() and Path(out).samefile(source):
            raise ValueError(f"{out} is the data file itself; choose another name for the output")


def cause(error: BaseException) -> str:
    """Return the operating system's part of HDF5's long message, on one line."""
    text = " ".join(str(error).split())
    system = re.search(r"error message = '([^']+)'", text)
    if system:
        return system.group(1)
    if "MPI_File_write" in text:
        return "MPI could not write (is the disk full, or a quota reached?)"
    strerror = getattr(error, "strerror", None)
    return str(strerror or text or type(error).__name__)


def write_whole(path: Path, image: bytes | memoryview) -> None:
    """Write a file of these bytes, all or nothing; OSError names the file and the cause."""
    partial = Path(f"{path}.partial")
    try:
        with open(partial, "wb") as out:
            out.write(image)
        put_in_place(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}: {cause(error)}") from None


def put_in_place(partial: Path, path: Path) -> None:
    """Rename `partial` to `path`; neither a crash nor a power cut leaves a file half written."""
    sync(partial)
    os.rename(partial, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_size(path: Path, nbytes: int) -> None:
    """Raise OSError, in one line, if a file may not have `nbytes` bytes; writes one byte, so takes no disk space.

    HDF5 1.10 crashes if a limit on the size of files stops it while it closes a file.
    """
    try:
        with open(path, "wb") as trial:
            trial.seek(nbytes)
            trial.write(b"\0")
        path.unlink()
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(f"cannot write {path} of {nbytes:,} bytes: {cause(error)}") from None
