"""Where the rows of a rank lie: in memory, or in a file of a folder, from which the system reads what is used.

The file has no name, so that it vanishes with the process. Its pages are shared with the cache of the system, which
writes them out and drops them where memory is short: rows may be larger than memory. All its bytes are reserved on
the disk before the first is written, because a page that finds no place there would end the process.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.growable_buffer import GrowableBuffer, anonymous_memory

SPILL = 1 << 18  # bytes that are collected before they are written; a rank collects for 128 buffers at most
IN_MEMORY = ("tmpfs", "ramfs")  # file systems without a disk
MOUNTS = "/proc/mounts"


class FileMapping(mmap.mmap):
    """A file of this process alone, mapped; it knows its folder."""

    folder: str


def mapped_file(folder: str, nbytes: int) -> FileMapping:
    """Return zeros that lie in a nameless file of the folder; ValueError where the folder takes no such file."""
    with _nameless(folder, nbytes) as file:
        mapping = FileMapping(file.fileno(), max(1, nbytes))
    mapping.folder = folder
    mapping.madvise(mmap.MADV_SEQUENTIAL)  # else a pass after random visits reads page by page
    return mapping


def _nameless(folder: str, nbytes: int) -> Any:
    """Open a file without a name, of which so many bytes are reserved on the disk."""
    file: Any = None
    try:
        file = tempfile.TemporaryFile(dir=folder, prefix="mpiopt-rows-")  # noqa: SIM115 - the caller closes it
        if nbytes:
            os.posix_fallocate(file.fileno(), 0, nbytes)
    except OSError as error:
        if file is not None:
            file.close()
        raise ValueError(
            f"--stream {folder}: takes no file of {nbytes / 1e9:.3g} GB: {error.strerror}; name a folder on a disk "
            "with more room"
        ) from None
    return file


def refuse_no_folder(folder: str) -> None:
    """Raise ValueError if this is no folder into which this process may write."""
    if not os.path.isdir(folder):
        raise ValueError(f"--stream {folder}: is no folder; make it on a disk of this node, or name another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"--stream {folder}: this process may not write there; name another folder")


def memory_note(folder: str, mounts: str = MOUNTS) -> tuple[str, ...]:
    """Return a line for the user if a folder lies on a file system that is in memory."""
    try:
        with open(mounts, encoding="utf-8") as file:
            kinds = {words[1]: words[2] for words in map(str.split, file) if len(words) > 2}
    except OSError:
        return ()
    place = os.path.realpath(folder)
    while place not in kinds and place != os.path.dirname(place):
        place = os.path.dirname(place)
    if kinds.get(place) not in IN_MEMORY:
        return ()
    return (f"--stream {folder}: lies in memory ({kinds[place]}), so it saves none; name a folder on a disk",)


@dataclass(frozen=True)
class RowStorage:
    """Where large arrays of rows are made.

    Parameters
    ----------
    folder : str
        A folder for nameless files; "": memory.

    Examples
    --------
    >>> RowStorage().numbers(3, np.float64, 0)
    array([0., 0., 0.])
    """

    folder: str = ""

    def numbers(self, count: int, dtype: Any, large: int) -> NDArray[Any]:
        """Return zeros; those of at least `large` bytes have pages of their own."""
        nbytes = count * np.dtype(dtype).itemsize
        if nbytes < max(1, large):
            return np.zeros(count, dtype)
        memory = mapped_file(self.folder, nbytes) if self.folder else anonymous_memory(nbytes)
        return np.frombuffer(memory, dtype, count)

    def buffers(self) -> BufferFactory:
        """Return what makes buffers that grow, for the rows as they come."""
        return SpilledBuffers(self.folder) if self.folder else BufferFactory()


def storage_of(numbers: NDArray[Any]) -> RowStorage:
    """Return where an array lies, for another one like it."""
    memory = owner_of(numbers)
    return RowStorage(memory.folder) if isinstance(memory, FileMapping) else RowStorage()


def owner_of(numbers: NDArray[Any]) -> Any:
    """Return the object whose memory an array is a part of."""
    owner: Any = numbers
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return memoryview(owner.base).obj if isinstance(owner.base, memoryview) else owner.base


class BufferFactory:
    """Makes buffers in memory."""

    def make(self, dtype: Any) -> GrowableBuffer | SpilledBuffer:
        """Return an empty buffer of numbers of one type."""
        return GrowableBuffer(dtype)


class SpilledBuffers(BufferFactory):
    """Makes buffers that share one nameless file: a rank has many, and a process may open few files."""

    def __init__(self, folder: str) -> None:
        self._folder, self._file = folder, _nameless(folder, 0)
        weakref.finalize(self, self._file.close)

    def make(self, dtype: Any) -> SpilledBuffer:
        """Return an empty buffer of numbers of one type."""
        return SpilledBuffer(np.dtype(dtype), self)

    def write(self, raw: NDArray[np.uint8]) -> int:
        """Append bytes to the file; return their place."""
        place = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(raw.data)
            self._file.flush()
        except OSError as error:
            raise ValueError(
                f"--stream {self._folder}: rows cannot be written after {place / 1e9:.3g} GB: {error.strerror}; name "
                "a folder on a disk with more room"
            ) from None
        return int(place)

    def read(self, place: int, into: NDArray[np.uint8]) -> None:
        """Read bytes from their place."""
        try:
            self._file.seek(place)
            count, why = self._file.readinto(into.data), "the file is shorter than what was written"
        except OSError as error:
            count, why = 0, str(error.strerror)
        if count != into.size:  # what is lacking would be rows of whatever lies in memory
            raise ValueError(f"--stream {self._folder}: rows cannot be read back: {why}; name another folder")


class SpilledBuffer:
    """Numbers of one type, appended array by array, kept in a file, and read once as one array."""

    def __init__(self, dtype: np.dtype[Any], files: SpilledBuffers) -> None:
        self._dtype, self._files = dtype, files
        self._parts: list[NDArray[np.uint8]] = []
        self._waiting = 0  # bytes of the parts
        self._extents: list[tuple[int, int]] = []  # place and bytes of what is in the file

    def append(self, x: NDArray[Any]) -> None:
        """Append numbers, converted to the type of the buffer."""
        raw = np.array(x, self._dtype, order="C").reshape(-1).view(np.uint8)
        if not raw.size:
            return
        self._parts.append(raw)
        self._waiting += raw.size
        if self._waiting >= SPILL:
            whole = np.concatenate(self._parts)
            self._extents.append((self._files.write(whole), whole.size))
            self._parts, self._waiting = [], 0

    @contextmanager
    def taken(self) -> Iterator[NDArray[Any]]:
        """Yield all numbers as one array; afterwards the buffer is empty."""
        stored = sum(nbytes for _, nbytes in self._extents)
        whole = np.empty(stored + self._waiting, np.uint8)
        at = 0
        for place, nbytes in self._extents:
            self._files.read(place, whole[at : at + nbytes])
            at += nbytes
        for part in self._parts:
            whole[at : at + part.size] = part
            at += part.size
        self._parts, self._waiting, self._extents = [], 0, []
        yield whole.view(self._dtype)
