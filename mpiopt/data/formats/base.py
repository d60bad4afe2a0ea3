"""Readers of data files, and how one is chosen and opened; each format has a file of its own.

All ranks open a file together and get a `Source`: the number of rows and, if the format states it, of columns, and an
iterator over this rank's rows. The pieces of all ranks partition the rows of the file exactly. No rank ever holds
more than its part.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.registry import Plugin
from mpiopt.core.files import refuse_unreadable
from mpiopt.core.partition import block
from mpiopt.data.formats.compressed_stream import open_unpacked
from mpiopt.data.schema import Schema
from mpiopt.data.shard import CsrRows, Vector

PIECE = 8 << 20  # bytes of rows that a reader returns at a time, roughly
HEAD = 4096  # bytes from which a format is recognised


@dataclass(frozen=True, eq=False)
class RawRows:
    """Consecutive rows as they stand in a file: labels not mapped, nothing scaled."""

    rows: NDArray[np.float64] | CsrRows  # (n, d), or CSR with ascending indices from 0
    label: Vector  # (n,) NaN if the file has none
    weight: Vector | None  # (n,)
    start: int  # number of the first row in the file, from 0
    offset: Vector | None = None  # (n,) what predictions add to the margins
    offset_stays: bool = False  # whether training adds it, too; else label and weight are those without it
    exposure: Vector | None = None  # (n,) beside an offset as given: of a converted table alone

    def __len__(self) -> int:
        return len(self.label)


@dataclass(eq=False)
class Source(ABC):
    """An open file as one rank sees it.

    Parameters
    ----------
    path : str
        What the user calls it, for messages.
    total : int
        Rows over all ranks.
    features : int or None
        Number of columns if the format states it, else None: the largest index decides.
    sparse : bool
        Whether the pieces are CSR.
    names : list of str or None
        Names of the features.
    nbytes : int
        Bytes of the file that this rank reads; the other fields are equal on all ranks.
    checksum : str or None
        The checksum of the content, if the file states one.
    schema : Schema or None
        Where label and weight are, and what `auto` has found; None: nothing but the reader's options.
    notes : tuple of str
        Lines for the user: what the file has and is not used.
    offsets_stay : bool
        Whether the pieces have offsets that stay beside the labels.

    Examples
    --------
    >>> from mpiopt.comm.threads import single
    >>> source = open_source("generate:n=5,d=2", "auto", None, single())
    >>> source.total, source.features, [piece.rows.shape for piece in source.pieces()]
    (5, 2, [(5, 2)])
    """

    path: str
    total: int
    features: int | None
    sparse: bool
    names: list[str] | None
    nbytes: int
    checksum: str | None = field(default=None, kw_only=True)
    schema: Schema | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    offsets_stay: bool = field(default=False, kw_only=True)

    @abstractmethod
    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        """Read this rank's rows in the order of the file; local, and may be called again.

        Parameters
        ----------
        nbytes : int
            Bytes of rows in a piece, roughly.

        Returns
        -------
        iterator of RawRows
            The pieces. A piece may be a view of a buffer that the next one overwrites.

        Raises
        ------
        ValueError
            One line that names the file, the place, what was found and what is allowed.
        """


@dataclass(frozen=True)
class Reader(Plugin, ABC):
    """A file format. A plug-in for a new format is a subclass with a `name`; its fields are its options.

    Attributes
    ----------
    suffixes : tuple of str
        Suffixes of the format's files, in lower case.
    lines : bool
        Whether rows are lines of text, so that the first lines of a file are a file, too.

    Examples
    --------
    >>> sorted(Reader.known())[:3]
    ['criteo', 'csv', 'generated']
    >>> Reader.make("csv", {"label": "first"}).label
    'first'
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    lines: ClassVar[bool] = False

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether a file is of this format.

        Parameters
        ----------
        path : str
            The file, or a recipe `generate:…`.
        head : bytes
            Its first 4096 bytes, decompressed.

        Returns
        -------
        bool
            True for exactly one reader.
        """
        return path.lower().endswith(self.suffixes)

    def like(self, path: str, schema: Schema, given: Collection[str]) -> Reader:
        """Return the reader for the rows of another file to which a model of this schema is applied; local.

        Labels and weights may be missing there.

        Parameters
        ----------
        path : str
            The file.
        schema : Schema
            The schema of the training file, perhaps of another format.
        given : collection of str
            The options that the user has set for this file; they stay as they are.

        Returns
        -------
        Reader
            A reader of the same format.
        """
        return self

    def stated(self) -> dict[str, str]:
        """Return the options that are not the defaults, as text."""
        return {
            name: str(getattr(self, name)) for name, f in self.options().items() if getattr(self, name) != f.default
        }

    @abstractmethod
    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Open a file; collective.

        Parameters
        ----------
        path : str
            The file.
        comm : Comm
            The ranks that share the rows.
        features : int or None
            The largest number of features. More are a ValueError, here or in `Source.pieces`.

        Returns
        -------
        Source
            The open file.

        Raises
        ------
        ValueError, OSError
            On all ranks, if the file cannot be read.
        """


def open_source(path: str, form: str, features: int | None, comm: Comm) -> Source:
    """Open a file with the reader that `find_reader` returns; no rows are a ValueError; collective."""
    with comm.agree_on_errors():
        reader = find_reader(path, form)
    return open_with(reader, path, features, comm)


def open_with(reader: Reader, path: str, features: int | None, comm: Comm) -> Source:
    """Open a file with this reader; ValueError without rows or without a title for each column; collective."""
    source = reader.open(path, comm, features)
    if source.total == 0:
        raise ValueError(f"{path}: has no rows")
    if source.names is not None and source.features is not None and len(source.names) != source.features:
        raise ValueError(f"{path}: has {len(source.names)} names for {source.features} columns; one each is needed")
    source.schema = source.schema or Schema(reader.name, reader.stated())
    return source


def find_reader(path: str, form: str = "auto") -> Reader:
    """Return the reader of a file: `form` is `auto`, a reader's name, or `name:option=value,…`.

    Raises
    ------
    ValueError
        If there is no such reader or option, or not exactly one reader recognises the file.
    """
    if not path.startswith("generate:"):
        refuse_unreadable(path)
    if form != "auto":
        name, _, text = form.partition(":")
        return Reader.make(name, parse_options(Reader, name, text))
    matching = recognising(path)
    if len(matching) != 1:
        names = ", ".join(Reader.known())
        raise ValueError(f"{path}: its name and first bytes do not tell its format; set --format to one of: {names}")
    return matching[0]


def recognising(path: str) -> list[Reader]:
    """Return the readers that recognise a file; ValueError if there is no such file."""
    head = _head(path)
    return [cls() for cls in Reader.known().values() if cls().recognises(path, head)]


def _head(path: str) -> bytes:
    if path.startswith("generate:"):
        return b""
    with open_unpacked(path) as stream:
        head = stream.read(HEAD)
    if not head:
        raise ValueError(f"{path}: has no rows")
    return head.removeprefix(codecs.BOM_UTF8)


def parse_options(family: type[Plugin], name: str, text: str) -> dict[str, object]:
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


def unused_note(path: str, what: str, form: str, used: Collection[str]) -> str:
    """Return a line about what a file has and is not used.

    Parameters
    ----------
    path : str
        The file.
    what : str
        Such as "array s".
    form : str
        The value of --format that would use it, with {} for the option's name; "" if it cannot be used.
    used : collection of str
        The options, of label (or y) and weight, for which the file has something already.
    """
    label = "y" if form.startswith("hdf5") else "label"
    free = [option for option in (label, "weight") if option not in used]
    if not form or not free:
        return f"{path}: {what} is not used"
    likely = "weight" if "weight" in free and (len(free) == 1 or "w" in what.rpartition(" ")[2].lower()) else free[0]
    return f"{path}: {what} is not used; use --format {form.format(likely)}"


def row_ranges(total: int, comm: Comm, row_bytes: int, nbytes: int) -> Iterator[tuple[int, int]]:
    """Divide this rank's block of `total` rows into ranges of about `nbytes`."""
    start, stop = block(total, comm.size, comm.rank)
    step = max(1, nbytes // max(1, row_bytes))
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def check_width(path: str, found: int, features: int | None) -> None:
    """Raise ValueError if a file has more columns than `features`."""
    if features is not None and found > features:
        raise ValueError(f"{path}: has {found} features; at most {features} are allowed here (--features)")
