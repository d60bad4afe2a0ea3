"""Write files whole or not at all, and never over the data that is read."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

MARK = "user.mpiopt.output"  # name of the attribute of a file that a command may write again
OVERWRITE = "say --overwrite"  # how a user permits it; the end of every message about a file that exists
SPECIAL = (
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def special_kind(path: str | Path) -> str:
    """Return in words what a path is that is neither a file nor a folder; "" for those and for nothing at all."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return next((words for is_kind, words in SPECIAL if is_kind(mode)), "")


def refuse_special(path: str | Path) -> None:
    """Raise ValueError for a pipe, a socket or a device: opening one may wait for ever, reading one may never end."""
    kind = special_kind(path)
    if kind:
        advice = f"; it is read more than once: copy its content into a file (cat {path} > FILE) and give that"
        raise ValueError(f"{path}: is {kind}, not a file" + (advice if "pipe" in kind else ""))


def refuse_device(path: str | Path) -> None:
    """Raise OSError for an output in whose place no file may be put: it would be gone for all programs."""
    kind = "a folder" if Path(path).is_dir() else special_kind(path)
    if kind:
        raise OSError(f"cannot write {path}: it is {kind}")


def describe_missing(path: str | Path) -> str:
    """Return why there is no file at a path: a link to nothing, a folder, or nothing there."""
    place = Path(path)
    if place.is_symlink() and not place.exists():
        return f"is a link to {os.readlink(place)}, which does not exist"
    return "is a folder, not a file" if place.is_dir() else "no such file"


def refuse_unreadable(path: str | Path) -> None:
    """Raise ValueError unless a path is a file that can be read more than once, with a similar name beside it."""
    refuse_special(path)
    place = Path(path)
    if place.is_file():
        return
    beside = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
    near = difflib.get_close_matches(place.name, beside, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near and not (place.is_symlink() or place.is_dir()) else ""
    raise ValueError(f"{path}: {describe_missing(path)}{hint}")


def refuse_onto(out: str, *sources: str) -> None:
    """Raise ValueError if an output is one of the files that are read, under the same or another name."""
    for source in filter(None, sources if out else ()):
        if Path(out).exists() and Path(source).exists() and Path(out).samefile(source):
            raise ValueError(f"{out} is another file of this command; choose another name for the output")


def refuse_existing(out: str | Path, overwrite: bool, command: str = "") -> None:
    """Raise ValueError if an output exists, unless it may be overwritten.

    Parameters
    ----------
    out : str or Path
        The output.
    overwrite : bool
        Whether the user permits it.
    command : str
        The command that writes; what it has written itself, it may write again. "" for one that may not.
    """
    refuse_device(out)
    if Path(out).exists() and not overwrite and not (command and is_unchanged_output(Path(out), command)):
        raise ValueError(f"{out}: exists; choose another name, or {OVERWRITE}")


def mark_output(path: Path, command: str) -> None:
    """Note in an attribute of a file that a command has written it; where files have no attributes, do nothing."""
    with contextlib.suppress(OSError, AttributeError):  # an attribute is lost by a copy: the copy is the user's
        os.setxattr(path, MARK, _mark(path, command))


def is_unchanged_output(path: Path, command: str) -> bool:
    """Return whether a file is as the command has written it; False where that is not known."""
    try:
        return os.getxattr(path, MARK) == _mark(path, command)
    except (OSError, AttributeError):
        return False


def _mark(path: Path, command: str) -> bytes:
    with open(path, "rb") as file:
        return f"{command} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode()


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


class PlainFile:
    """A file that is written at any place by plain system calls, each of which may fail with an OSError.

    Parameters
    ----------
    path : Path
        The file.
    new : bool
        Whether it is made here. It must not exist then, not even as a link: nothing is ever written through a link.
    """

    def __init__(self, path: Path, new: bool = True) -> None:
        flags = os.O_CREAT | os.O_EXCL if new else 0
        self._handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o666)

    def write_at(self, start: int, content: bytes | memoryview) -> None:
        """Write all bytes at a place."""
        left = memoryview(content)
        while len(left):
            done = os.pwrite(self._handle, left, start)
            start, left = start + done, left[done:]

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until all is on the disk, unless there was an error, and close the file."""
        handle, self._handle = self._handle, -1
        try:
            if error is None:
                os.fsync(handle)
        finally:
            if error is None:
                os.close(handle)  # a network file system may tell here that it could not write
            else:
                with contextlib.suppress(OSError):
                    os.close(handle)


def write_whole(path: Path, image: bytes | memoryview) -> None:
    """Write a file of these bytes, all or nothing; OSError names the file and the cause."""
    partial = Path(f"{path}.partial")
    refuse_device(path)
    try:
        partial.unlink(missing_ok=True)  # left by a run that was killed, or a link, which is not followed
        with PlainFile(partial) as out:
            out.write_at(0, image)
        rename_into_place(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}: {cause(error)}") from None


def rename_into_place(partial: Path, path: Path) -> None:
    """Rename `partial`, which is on the disk, to `path`, and wait until the folder is on the disk, too."""
    os.rename(partial, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
