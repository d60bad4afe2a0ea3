"""A table that all ranks have opened: its columns, its rows, and the batches that each rank reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mpiopt.core.config.registry import nearest
from mpiopt.data.tables.arrow import BOOLEAN, DATE, EMPTY, NUMBER, TEXT

ROWS = 1 << 14  # rows of a batch at most, the same in every pass: 8 MB for 30 columns with place and value
ORDER = {EMPTY: 0, BOOLEAN: 1, NUMBER: 2, DATE: 3, TEXT: 4}


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive rows of a table, as Arrow arrays by title."""

    cells: Mapping[str, Any]
    rows: int
    start: int  # number of the first row in the table, from 0
    path: str  # the file
    first: int  # number of the first row, or of its line, in that file, from 0
    unit: str = "row"  # what `first` counts

    def place(self, row: int, title: str) -> str:
        """Return where a cell is, in words."""
        return f"{self.path}, {self.unit} {self.first + row + 1}, column {title!r}"


class Table(ABC):
    """A table as one rank sees it; opening is collective, reading is local.

    Parameters
    ----------
    path : str
        What the user calls it.
    kinds : mapping of str to str
        What each column holds, by title, in the order of the first file: number, boolean, date, text or empty.
    total : int
        Rows over all ranks.
    nbytes : int
        Bytes that this rank reads.
    notes : sequence of str
        Lines for the user.
    guessed : bool
        Whether the kinds are guessed from text, so that numbers can be asked for as text and text as numbers.
    """

    form = ""  # name of the format
    orders: Mapping[str, Sequence[str]] = MappingProxyType(
        {}
    )  # levels of columns of text with an order, from the lowest

    def __init__(
        self,
        path: str,
        kinds: Mapping[str, str],
        total: int,
        nbytes: int,
        notes: Sequence[str] = (),
        guessed: bool = False,
    ) -> None:
        self.path, self.kinds, self.total, self.nbytes = path, dict(kinds), total, nbytes
        self.notes, self.guessed = tuple(notes), guessed

    @abstractmethod
    def batches(self, kinds: Mapping[str, str]) -> Iterator[Batch]:
        """Read this rank's rows of some columns, by title, with what they are to be read as.

        Each call yields the same batches. A cell that is not of the kind is a ValueError with its place.
        """


def agreed_kinds(kinds: Sequence[str]) -> str:
    """Return what a column holds whose parts hold these; "" if they do not fit together."""
    found = sorted({*kinds} - {EMPTY}, key=ORDER.__getitem__)
    if not found:
        return EMPTY
    return found[0] if len(found) == 1 else ""


def agreed_orders(path: str, every: Sequence[Mapping[str, Sequence[str] | None]]) -> dict[str, Sequence[str]]:
    """Return the order of the levels of each column that has one; ValueError if the parts of a table differ."""
    found: dict[str, Sequence[str]] = {}
    for orders in every:
        for title, order in orders.items():
            if order is None or found.setdefault(title, order) != order:
                raise ValueError(
                    f"{path}: the parts of column {title!r} have their levels in different orders; state one: "
                    f"--encode '{title}=ordered[levels=S<M<L]'"
                )
    return found


def refuse_twice(path: str, titles: Sequence[str]) -> None:
    """Raise ValueError if two columns have the same title."""
    twice = next((title for title in titles if titles.count(title) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: two columns are called {twice!r}; give each its own title")


def refuse_other_columns(path: str, titles: Sequence[str], first: str, wanted: Sequence[str]) -> None:
    """Raise ValueError if a part file has not the columns of the first one."""
    for some, there, lacking in ((wanted, titles, path), (titles, wanted, first)):
        missing = next((title for title in some if title not in there), None)
        if missing is not None:
            other = first if lacking == path else path
            hint = nearest(missing, [title for title in there if title not in some])
            raise ValueError(f"{lacking}: there is no column {missing!r}{hint}, which {other} has")
