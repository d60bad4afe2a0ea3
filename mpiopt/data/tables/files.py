"""The files of one table: a file, several, a folder of part files, or a wildcard, in the order of their names."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mpiopt.data.formats.compressed_stream import without_packing

BINARY = {"parquet": (".parquet", ".pq"), "arrow": (".feather", ".arrow", ".ipc")}
TEXTS = (".csv", ".tsv")
SUFFIXES = (*TEXTS, *BINARY["parquet"], *BINARY["arrow"])
IGNORED = ("_", ".")  # first letters of files that programs put beside part files, such as _SUCCESS


class TableFiles(NamedTuple):
    """The files of one table."""

    name: str  # what the user calls it
    paths: tuple[str, ...]


class FileState(NamedTuple):
    """What shows that a file has changed."""

    nbytes: int
    written: int  # nanoseconds
    number: int  # of the file in the file system


def joined(paths: Sequence[str]) -> str:
    """Return several paths as one text, from which `table_of` finds them again."""
    return ",".join(paths)


def are_parts(paths: Sequence[str]) -> bool:
    """Return whether several paths can be the files of one table: each has the suffix of one, or is a folder."""
    return all(plain_suffix(path) in SUFFIXES or Path(path).is_dir() for path in paths)


def is_several(path: str) -> bool:
    """Return whether a path means a table of several files: a folder, a wildcard, or paths with commas between."""
    if path.startswith("generate:") or Path(path).is_file():
        return False
    return bool(_inside(path)) if Path(path).is_dir() else any(mark in path for mark in "*?[,")


def find_table(path: str, form: str, columns_named: bool) -> TableFiles | None:
    """Return the files of a table of columns; None for what another reader reads.

    Parameters
    ----------
    path : str
        A file, a folder, a wildcard, or several with commas between.
    form : str
        The format that the user names, or auto.
    columns_named : bool
        Whether the user names columns, so that any text is a table of columns.

    Raises
    ------
    ValueError
        If columns are named of made-up rows, or no file has such a name.
    """
    name, binary = form.partition(":")[0], sum(BINARY.values(), ())
    if path.startswith("generate:"):
        if columns_named:
            raise ValueError(f"{path}: made-up rows are no table; leave out --target, --drop and the like")
        return None
    by_suffix = name == "auto" and (is_several(path) or plain_suffix(path) in binary)
    return table_of(path) if columns_named or name in BINARY or by_suffix else None


def table_of(path: str) -> TableFiles:
    """Return the files of a table, in the order of their names.

    Raises
    ------
    ValueError
        If a folder or a wildcard has no file, or one is given twice.
    """
    return TableFiles(path, tuple(_files(path)))


def _files(path: str) -> list[str]:
    if Path(path).is_dir():
        inside = _inside(path)
        if not inside:
            raise ValueError(f"{path}: is a folder without files {', '.join(SUFFIXES)}")
        return inside
    if not is_several(path):
        return [path]
    if "," in path:
        found = [file for part in path.split(",") for file in _files(part)]
        twice = next((file for file in found if found.count(file) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice}: is given twice")
        return found
    matching = sorted(file for file in glob.glob(path) if Path(file).is_file())
    if not matching:
        raise ValueError(f"{path}: no file has such a name")
    return matching


def _inside(folder: str) -> list[str]:
    return sorted(file for file in glob.glob(f"{glob.escape(folder)}/*") if _is_part(file))


def _is_part(path: str) -> bool:
    name = os.path.basename(path).lower()
    return Path(path).is_file() and plain_suffix(name) in SUFFIXES and not name.startswith(IGNORED)


def plain_suffix(path: str) -> str:
    """Return the suffix of a file's name in lower case, without that of a compression."""
    return os.path.splitext(without_packing(path.lower()))[1]


def states(paths: Sequence[str]) -> list[FileState]:
    """Return what shows that the files have changed."""
    found = (os.stat(path) for path in paths)
    return [FileState(s.st_size, s.st_mtime_ns, s.st_ino) for s in found]


def refuse_changed(paths: Sequence[str], before: Sequence[FileState]) -> None:
    """Raise ValueError if a file is not as it was."""
    for path, then, now in zip(paths, before, states(paths), strict=True):
        if then != now:
            raise ValueError(f"{path}: has changed while it was read; wait until it is written, and start again")
