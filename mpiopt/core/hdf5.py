"""Open HDF5 files with clear errors: by their seal if they have one, else first in a child process."""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
from h5py._objects import phil

from mpiopt.core.files import cause, describe_missing, refuse_special
from mpiopt.core.seal import DamagedFile, check_seal
from mpiopt.core.trial_run import fault_of_trial

logger = logging.getLogger(__name__)

FORMAT = 1  # of results and checkpoints; increased when earlier versions would misread a file
RESULT = "mpiopt result"
CHECKPOINT = "mpiopt checkpoint"
# Object headers with checksums that tools of HDF5 1.8 and 1.10 can still read.
LIBVER = ("v108", "v110")
SEALED = "sealed"  # attribute of the root of a file that ends with a seal (`mpiopt.core.seal`)
EXAMINED = 64 << 20  # bytes of a dataset that are read in the trial of a file without a seal
# Threads that have the same text open share HDF5's record of it, which points to the file of the first. HDF5 1.10
# reads freed memory when that file is closed meanwhile. So text is opened and read under the lock that h5py takes.
text_lock = phil
_told: set[Path] = set()  # files without a seal for which a line was printed


class NotHdf5(ValueError):
    """A file is of another kind: text, for example."""


def open_read(path: Path) -> h5py.File:
    """Open for reading a file that mpiopt has written; check its seal before HDF5 sees it.

    A file without a seal, of an earlier version or of another program, is read in a child process first.

    Raises
    ------
    ValueError
        One line: the file is missing, a folder, not HDF5, truncated or damaged.
    """
    refuse_special(path)
    if not path.is_file():
        raise ValueError(f"{path}: {describe_missing(path)}")
    try:
        has_seal = check_seal(path)
    except PermissionError:
        raise ValueError(f"{path}: permission denied") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {cause(error)}") from None
    fault = "" if has_seal else fault_of_trial(lambda: examine(path))
    if fault:
        raise unreadable(path, fault)
    file = _open(path)
    if not has_seal:
        refuse_lost_seal(path, file)
        _tell_without_seal(path, file)
    return file


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        raise unreadable(path, str(error)) from None


def examine(path: Path) -> None:
    """Read all attributes of a file, and its datasets up to a size: whatever HDF5 does with them, it does here."""

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset) and item.nbytes <= EXAMINED:
            item[()]

    with h5py.File(path, "r", locking="best-effort") as f:
        dict(f.attrs)
        f.visititems(visit)


def refuse_lost_seal(path: Path | str, file: h5py.File) -> None:
    """Raise ValueError for a file that was written with a seal and has none, and close it."""
    if SEALED in file.attrs:
        file.close()
        raise DamagedFile(
            f"{path}: is damaged: its checksums are missing; it is cut off, or another program has changed it"
        )


def _tell_without_seal(path: Path, file: h5py.File) -> None:
    kind = str(file.attrs.get("kind", ""))
    if kind in (RESULT, CHECKPOINT) and path not in _told:
        _told.add(path)
        logger.warning("%s: has no checksums: an earlier version has written it", path)


def check_format(f: h5py.File, path: Path, kind: str) -> None:
    """Raise ValueError if a file is not of this kind and format."""
    found = str(f.attrs.get("kind", "an HDF5 file without the attribute 'kind'"))
    if found != kind:
        raise ValueError(f"{path}: expected an {kind}, found {found}")
    number = int(f.attrs.get("format", -1))
    if number != FORMAT:
        raise ValueError(f"{path}: {kind} of format {number}; this mpiopt reads format {FORMAT}")


def unreadable(path: Path | str, message: str) -> ValueError:
    """Return the error for a file that HDF5 cannot open, of which it says `message`."""
    if "signature" in message:
        return NotHdf5(f"{path}: not an HDF5 file")
    if "truncated" in message:
        return DamagedFile(f"{path}: truncated HDF5 file")
    return DamagedFile(f"{path}: not a readable HDF5 file ({cause(OSError(message))})")
