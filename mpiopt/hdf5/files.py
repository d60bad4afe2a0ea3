"""Open HDF5 files with clear errors; put whole files in place: partial, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from mpiopt.comm import Comm

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


def cause(error: BaseException) -> str:
    """Give the operating system's words out of HDF5's long message, on one line."""
    text = " ".join(str(error).split())
    system = re.search(r"error message = '([^']+)'", text)
    if system:
        return system.group(1)
    if "MPI_File_write" in text:
        return "MPI could not write (is the disk full, or a quota reached?)"
    strerror = getattr(error, "strerror", None)
    return str(strerror or text or type(error).__name__)


def write_whole(path: Path, image: bytes | memoryview) -> None:
    """Put a file of these bytes in place, all or nothing; OSError names the file and the cause."""
    partial = Path(f"{path}.partial")
    try:
        with open(partial, "wb") as out:
            out.write(image)
        put_in_place(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}: {cause(error)}") from None


def put_in_place(partial: Path, path: Path) -> None:
    """Rename `partial` to `path` such that neither a crash nor a power cut leaves anything half done."""
    sync(partial)
    os.rename(partial, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Return when the file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(path: str | Path, comm: Comm) -> None:
    """Make the folder of the file `path` and try to write there; collective.

    Raises
    ------
    OSError
        On all ranks, one line: called before the training, so that no result is lost after it.
    """
    on_first(comm, lambda: _try_to_write(Path(path)))


def on_first(comm: Comm, work: Callable[[], None]) -> None:
    """Do `work` on rank 0 and raise its OSError or ValueError on all ranks, with the same words."""
    failed, text = 0, b""
    if comm.rank == 0:
        try:
            work()
        except (OSError, ValueError) as error:
            failed, text = (1 if isinstance(error, OSError) else 2), str(error).encode()
    message = comm.broadcast(np.frombuffer(bytes([failed]) + text, np.uint8).copy())
    words = message[1:].tobytes().decode()
    comm.agree({0: None, 1: OSError(words), 2: ValueError(words)}[int(message[0])])


def try_size(path: Path, nbytes: int) -> None:
    """Find out with one byte whether a file may be so large; OSError, one line, if not.

    No disk space is taken. HDF5 1.10 crashes when a limit on the size of files stops it while closing.
    """
    try:
        with open(path, "wb") as trial:
            trial.seek(nbytes)
            trial.write(b"\0")
        path.unlink()
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(f"cannot write {path} of {nbytes:,} bytes: {cause(error)}") from None


def share_text(comm: Comm, text: str) -> str:
    """Give rank 0's text on all ranks."""
    wire = np.frombuffer(text.encode(), np.uint8).copy() if comm.rank == 0 else None
    return comm.broadcast(wire).tobytes().decode()


def _try_to_write(path: Path) -> None:
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".partial") as trial:
            trial.write(b"mpiopt")
    except OSError as error:
        raise OSError(f"cannot write {path}: {cause(error)}") from None


def _why_unreadable(message: str) -> str:
    if "truncated" in message:
        return "truncated HDF5 file"
    if "signature" in message:
        return "not an HDF5 file"
    return f"not a readable HDF5 file ({cause(OSError(message))})"
