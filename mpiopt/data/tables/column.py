"""A column of a table as a model knows it, and how its file keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from math import isfinite
from typing import Any

from mpiopt.core.config.columns import SUM, encoding
from mpiopt.core.config.spec import PluginSpec, parse_spec
from mpiopt.data.tables.arrow import BOOLEAN, DATE, EMPTY, NUMBER, ORDERED, TEXT
from mpiopt.data.tables.splines import functions

FEATURE, TARGET, WEIGHT, OFFSET, EXPOSURE = "feature", "target", "weights", "offset", "exposure"
ROLES = (TARGET, WEIGHT, OFFSET, EXPOSURE)
TYPES = {"numeric": NUMBER, "categorical": TEXT, "boolean": BOOLEAN, "date": DATE}  # words of the user
RARE, GAP = "(rare)", "(gap)"  # levels of an encoding that stand for others


@dataclass(frozen=True)
class Column:
    """A column of a table as a model knows it.

    Parameters
    ----------
    title : str
        Its title.
    kind : str
        What it holds: number, boolean, date, text, or ordered: words whose places in an order are numbers.
    role : str
        feature, target, weights, offset or exposure.
    encode : str
        How words become features: onehot or hash with its options; of numbers: spline with its options, or "".
        Ordered words have none: their feature is their place among the levels, from 0.
    gaps : str
        What fills gaps: refuse, drop, mean, median, level.
    unseen : str
        What is done with levels that the training had not: ignore, refuse.
    levels : tuple of str
        Levels with a feature of their own, in its order; of a target, the classes. RARE and GAP are added last.
    first_level : str
        The level without a feature, which all zeros mean; "" if each has one.
    fill : float
        What stands for a gap in a column of numbers.
    indicator : bool
        Whether a feature says where gaps are.
    missing : int
        Gaps in the training rows.
    levels_rare : int
        Levels that are counted as RARE.
    levels_hashed : int
        Levels of a hashed column in training, -1 if they were too many to count.
    levels_shared : int
        How many of them share a place with others.
    stated : bool
        Whether the user has said what it holds.
    low, high : float
        Range of the numbers in training; None without numbers.
    knots : tuple of float
        Knots of a spline, the ends of the range among them.
    interactions : tuple of tuple of str
        The interactions of which it is the first column: the titles of each.

    Examples
    --------
    >>> Column("region", TEXT, levels=("north", "south")).feature_names
    ('region[north]', 'region[south]')
    """

    title: str
    kind: str
    role: str = FEATURE
    encode: str = ""
    gaps: str = "refuse"
    unseen: str = "ignore"
    levels: tuple[str, ...] = ()
    first_level: str = ""
    fill: float = 0.0
    indicator: bool = False
    missing: int = 0
    levels_rare: int = 0
    levels_hashed: int = 0
    levels_shared: int = 0
    stated: bool = False
    low: float | None = None
    high: float | None = None
    knots: tuple[float, ...] = ()
    interactions: tuple[tuple[str, ...], ...] = ()

    @property
    def spec(self) -> PluginSpec:
        """The encoding with all its options."""
        return encoding(self.encode)

    @property
    def hash_bits(self) -> int:
        """Bits of the hash of a hashed column; 0 for others."""
        spec = parse_spec(self.encode) if self.encode else PluginSpec()
        return int(str(self.spec.options["bits"])) if spec.name == "hash" else 0

    @property
    def is_spline(self) -> bool:
        """Whether its numbers become a spline."""
        return self.kind != TEXT and bool(self.encode)

    @property
    def order(self) -> dict[str, int]:
        """The number of each level, where they have an order."""
        return {level: place for place, level in enumerate(self.levels)} if self.kind == ORDERED else {}

    @property
    def degree(self) -> int:
        """Degree of its spline."""
        return int(str(self.spec.options["degree"]))

    @property
    def shape(self) -> str:
        """Shape of its spline: free, rising or falling."""
        return str(self.spec.options["shape"])

    @property
    def drops_first(self) -> bool:
        """Whether the first level, or the first function of a spline, has no feature."""
        return self.spec.options["drop"] == "first" or (self.is_spline and self.shape != "free")

    @property
    def sums_to_zero(self) -> bool:
        """Whether its last level has no feature, and is -1 in all others."""
        levels = self.kind == TEXT and self.role == FEATURE and not self.hash_bits
        return levels and bool(self.encode) and self.spec.options["drop"] == SUM

    @property
    def entries(self) -> int:
        """Features of a row that are not zero, at most."""
        if self.kind == TEXT:
            return max(self.width, 1) if self.sums_to_zero else 1
        if self.is_spline:
            return self.degree + 1 if self.shape == "free" else self.width
        return 1 + self.indicator

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of its features, in their order."""
        if self.role != FEATURE:
            return ()
        if self.hash_bits:
            hashed = tuple(f"{self.title}[#{place}]" for place in range(1 << self.hash_bits))
            return hashed + ((f"{self.title}[{GAP}]",) if self.indicator else ())
        if self.kind == TEXT:
            return tuple(f"{self.title}[{level}]" for level in self.levels[: len(self.levels) - self.sums_to_zero])
        if self.is_spline:
            numbers = range(1 + self.drops_first, 1 + functions(self.knots, self.degree))
            kind = "spline" if self.shape == "free" else self.shape
            smooth = tuple(f"{self.title}[{kind} {number}]" for number in numbers)
            return smooth + ((f"{self.title}[{GAP}]",) if self.indicator else ())
        return (self.title, f"{self.title}[{GAP}]") if self.indicator else (self.title,)

    @property
    def width(self) -> int:
        """Number of its features."""
        if self.hash_bits:
            return (1 << self.hash_bits) + self.indicator
        if self.kind == TEXT:
            return len(self.levels) - self.sums_to_zero if self.role == FEATURE else 0
        return len(self.feature_names)


def interactions(columns: Sequence[Column]) -> list[list[Column]]:
    """Return the interactions of columns: the columns of each, in the order of their features."""
    known = {column.title: column for column in columns}
    return [[known[title] for title in titles] for column in columns for titles in column.interactions]


def to_tree(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return columns as they are stored in JSON."""
    return [dict(vars(column)) for column in columns]


def from_tree(tree: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Return columns from what `to_tree` made; keys of later versions are left out.

    Raises
    ------
    ValueError
        If they are not what a model can have: another program made the file, or it is damaged.
    """
    known = Column.__dataclass_fields__
    try:
        found = [{key: value for key, value in column.items() if key in known} for column in tree]
        columns = tuple(
            replace(
                Column(**one),
                levels=tuple(one.get("levels", ())),
                knots=tuple(one.get("knots", ())),
                interactions=tuple(tuple(titles) for titles in one.get("interactions", ())),
            )
            for one in found
        )
        fault = next(filter(None, map(_fault, columns)), "") or _fault_of_titles(columns)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        fault = str(error)
    if fault:
        raise ValueError(f"the columns that the model keeps are damaged: {fault}")
    return columns


def _fault(column: Column) -> str:
    """Return what a column cannot be, in words; "" if it is whole."""
    texts = (column.title, column.kind, column.role, column.encode, column.gaps, column.unseen, column.first_level)
    if not all(isinstance(text, str) for text in (*texts, *column.levels, *chain(*column.interactions))):
        return f"column {column.title!r} has a number in the place of a text"
    if column.kind not in (*TYPES.values(), EMPTY, ORDERED) or column.role not in (FEATURE, *ROLES):
        return f"column {column.title!r} is {column.kind}, {column.role}"
    numbers = [
        float(x) for x in (column.fill, *column.knots, *(x for x in (column.low, column.high) if x is not None))
    ]
    if not all(map(isfinite, numbers)):
        return f"column {column.title!r} has a number that is not finite"
    if column.encode:
        name = encoding(column.encode).name
        if (name == "spline") == (column.kind == TEXT):
            return f"column {column.title!r} is {column.kind}, encoded as {name}"
    rising = all(low < high for low, high in pairwise(column.knots))
    if column.is_spline and not (len(column.knots) > 1 and rising):
        return f"the knots of column {column.title!r} do not ascend"
    return ""


def _fault_of_titles(columns: Sequence[Column]) -> str:
    """Return which titles are not there, or twice; "" if there are none."""
    titles = [column.title for column in columns]
    features = {column.title for column in columns if column.role == FEATURE}
    if len({*titles}) < len(titles):
        return "two columns have one title"
    for column in columns:
        for crossed in column.interactions:
            whole = len(crossed) > 1 and len({*crossed}) == len(crossed) and crossed[0] == column.title
            if not (whole and features.issuperset(crossed)):
                return f"there is an interaction of {':'.join(crossed)}"
    return ""
