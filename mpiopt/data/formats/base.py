"""Readers: from a file, or a recipe, to this rank's rows in bounded pieces; one file a format.

A reader is opened by all ranks together. What it gives is a `Source`: the number of rows and, where the format
says so, of columns, and an iterator over this rank's part of the rows. The pieces of all ranks partition the rows of
the file exactly; no rank ever holds more than its part.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.registry import Plugin
from mpiopt.core.partition import block
from mpiopt.data.formats.compressed_stream import unpacked
from mpiopt.data.shard import CsrRows, Vector

PIECE = 8 << 20  # bytes of a piece, roughly


@dataclass(frozen=True, eq=False)
class RawRows:
    """Consecutive rows of a file, as they stand there: labels unmapped, nothing scaled."""

    rows: NDArray[np.float64] | CsrRows  # (n, d) or CSR with indices from 0, ascending
    label: Vector  # (n,), NaN where the file has none
    weight: Vector | None  # (n,)
    start: int  # number of the first row in the file

    def __len__(self) -> int:
        return len(self.label)


@dataclass(eq=False)
class Source(ABC):
    """An open file as one rank sees it; `total`, `features`, `names` and `sparse` are equal on all ranks."""

    total: int  # rows over all ranks
    features: int | None  # columns, where the format says it; else the largest index tells
    sparse: bool  # whether the pieces are CSR
    names: list[str] | None  # of the features
    nbytes: int  # of the file that this rank reads

    @property
    def checksum(self) -> str | None:
        """The checksum of the content, where the file states one."""
        return None

    @abstractmethod
    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        """Read this rank's rows, about `nbytes` at a time, in the order of the file; local, may be called again.

        Raises
        ------
        ValueError
            One line that names the file, the place, what was found and what is allowed.
        """


@dataclass(frozen=True)
class Reader(Plugin, ABC):
    """A format. `suffixes` are lower case; a reader must recognise its files by them and by the first bytes."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    lines: ClassVar[bool] = False  # rows are lines of text: the head of a file is a file

    def recognises(self, path: str, head: bytes) -> bool:
        """Say whether `path`, whose first bytes are `head` (decompressed), is a file of this format."""
        return path.lower().endswith(self.suffixes)

    @abstractmethod
    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Open the file; collective, and all ranks raise together.

        An index or a column beyond `features`, if given, is refused, here or in `Source.pieces`.
        """


def find(path: str, form: str = "auto") -> Reader:
    """Give the reader for a file: `form` is `auto`, a reader's name, or `name:option=value,…`.

    Raises
    ------
    ValueError
        If no reader, or an option, of that name is known, or none recognises the file.
    """
    if form != "auto":
        name, _, text = form.partition(":")
        return Reader.make(name, settings(Reader, name, text))
    head = _head(path)
    matching = [cls() for cls in Reader.known().values() if cls().recognises(path, head)]
    if len(matching) != 1:
        names = ", ".join(Reader.known())
        raise ValueError(f"{path}: cannot tell its format from its name and first bytes; give one of: {names}")
    return matching[0]


def _head(path: str) -> bytes:
    if path.startswith("generate:"):
        return b""
    if not Path(path).exists():
        near = difflib.get_close_matches(Path(path).name, _beside(path), n=1)
        raise ValueError(f"{path}: no such file" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if Path(path).is_dir():
        raise ValueError(f"{path}: is a folder, not a file")
    with unpacked(path) as stream:
        return stream.read(4096)


def _beside(path: str) -> list[str]:
    folder = Path(path).parent
    return [p.name for p in folder.iterdir()] if folder.is_dir() else []


def settings(family: type[Plugin], name: str, text: str) -> dict[str, object]:
    """Read `key=value,key=value` with the types of the options of plug-in `name`."""
    known = family.known()
    fields = known[name].options() if name in known else {}
    found: dict[str, object] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{name}: option {item!r} is not of the form key=value")
        found[key] = _typed(name, key, value, fields[key].default) if key in fields else value
    return found


def _typed(name: str, key: str, value: str, default: Any) -> object:
    if isinstance(default, str):
        return value
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name}: option {key}={value!r} is not a number") from None
    if isinstance(default, int) and number != int(number):
        raise ValueError(f"{name}: option {key}={value!r} is not a whole number")
    return type(default)(number)


def spans(total: int, comm: Comm, row_bytes: int, nbytes: int) -> Iterator[tuple[int, int]]:
    """Cut this rank's block of `total` rows into ranges of about `nbytes`."""
    start, stop = block(total, comm.size, comm.rank)
    step = max(1, nbytes // max(1, row_bytes))
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def check_width(path: str, found: int, features: int | None) -> None:
    """Refuse a file with more columns than `features`.

    Raises
    ------
    ValueError
        If there are more.
    """
    if features is not None and found > features:
        raise ValueError(f"{path}: has {found} features; at most {features} are allowed here (--features)")
