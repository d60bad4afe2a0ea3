"""What is done with each column of a table: its role, its encoding, its gaps; from the options of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain, pairwise
from math import isfinite, prod
from typing import Any

from mpiopt.core.config.columns import (
    MOST_BITS,
    SUM,
    ColumnOptions,
    column_of_rule,
    encoding,
    order_of,
    rule_of,
    titles_of,
)
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec, parse_spec
from mpiopt.data.tables.arrow import BOOLEAN, DATE, EMPTY, NUMBER, ORDERED, TEXT
from mpiopt.data.tables.splines import functions
from mpiopt.data.tables.table import Table

FEATURE, TARGET, WEIGHT, OFFSET, EXPOSURE = "feature", "target", "weights", "offset", "exposure"
ROLES = (TARGET, WEIGHT, OFFSET, EXPOSURE)
TYPES = {"numeric": NUMBER, "categorical": TEXT, "boolean": BOOLEAN, "date": DATE}  # words of the user
RARE, GAP = "(rare)", "(gap)"  # levels of an encoding that stand for others
WILD = "*?["


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


def plan_columns(table: Table, options: ColumnOptions) -> list[Column]:
    """Return the columns that are used, in the order of the table; levels and fills are not known yet.

    Raises
    ------
    ValueError
        If a column that is named does not exist, or there is no target or no feature.
    """
    if not options.target:
        known = listed(table.kinds)
        raise ValueError(f"{table.path}: name the column of the target: --target; the columns are {known}")
    found = columns_of(table, options)
    refuse_empty(table, options, found)
    if not any(column.role == FEATURE for column in found):
        raise ValueError(f"{table.path}: no column is left for the features")
    return found


def columns_of(table: Table, options: ColumnOptions) -> list[Column]:
    """Do as `plan_columns`, where a target and features need not be there."""
    path, kinds = table.path, table.kinds
    roles: dict[str, str] = {}
    for role in ROLES:
        title = getattr(options, role)
        if title:
            refuse_unknown(path, [title], kinds, f"--{role}")
            if title in roles:
                raise ValueError(f"{path}: column {title!r} is both --{roles[title]} and --{role}; choose one")
            roles[title] = role
    wanted = select(path, options.columns, kinds, "--columns") if options.columns else {*kinds}
    dropped = select(path, options.drop, kinds, "--drop")
    refuse_dropped_role(path, roles, options.drop)
    stated = select(path, options.categorical, kinds, "--categorical")
    kinds = _changed_kinds(path, table, options, stated)
    for name in ("encode", "gaps", "unseen"):
        rules = [column_of_rule(rule) for rule in getattr(options, name)]
        refuse_unknown(path, [title for title in rules if title and not is_wild(title)], kinds, f"--{name}")
    found = [
        replace(_column(table, title, kind, roles.get(title, FEATURE), options), stated=title in stated)
        for title, kind in kinds.items()
        if title in roles or (title in wanted and title not in dropped)
    ]
    left = [column for column in found if column.kind != EMPTY or column.role != FEATURE]
    return _with_interactions(path, left, options.interactions)


def _with_interactions(path: str, columns: Sequence[Column], wanted: Sequence[str]) -> list[Column]:
    """Return columns with the interactions in which each is the first."""
    features = [column.title for column in columns if column.role == FEATURE]
    every = [titles_of(text) for text in wanted]
    for titles in every:
        refuse_unknown(path, titles, features, "--interactions", "among the features")
        if sum({*titles} == {*other} for other in every) > 1:
            raise ValueError(f"{path}: --interactions has {':'.join(titles)} twice")
        shaped = [c.title for c in columns if c.title in titles and c.is_spline and c.shape != "free"]
        if shaped:
            raise ValueError(f"{path}: --interactions: {shaped[0]} is rising or falling, which a product need not be")
    return [
        replace(column, interactions=tuple(titles for titles in every if titles[0] == column.title))
        for column in columns
    ]


def interactions(columns: Sequence[Column]) -> list[list[Column]]:
    """Return the interactions of columns: the columns of each, in the order of their features."""
    known = {column.title: column for column in columns}
    return [[known[title] for title in titles] for column in columns for titles in column.interactions]


def refuse_wide_interactions(path: str, columns: Sequence[Column]) -> None:
    """Raise ValueError at an interaction of more features than an encoding may have."""
    for crossed in interactions(columns):
        width = prod(column.width for column in crossed)
        if width > 1 << MOST_BITS:
            titles = ":".join(column.title for column in crossed)
            raise ValueError(
                f"{path}: the interaction {titles} has {width} features, more than 2^{MOST_BITS}; put rare levels "
                "together (onehot[least=10]), or hash with fewer bits"
            )


def refuse_dropped_role(path: str, roles: Mapping[str, str], dropped: Sequence[str]) -> None:
    """Raise ValueError at a column that has a role and is left out by its title; a wildcard or type may hold it."""
    for title in dropped:
        if title in roles:
            raise ValueError(f"{path}: column {title!r} is both --{roles[title]} and --drop; choose one")


def refuse_empty(table: Table, options: ColumnOptions, columns: Sequence[Column]) -> None:
    """Raise ValueError at a feature that is asked for by its title, and has gaps alone."""
    left = {column.title for column in columns}
    for title in options.columns:
        if table.kinds.get(title) == EMPTY and title not in left:
            raise ValueError(f"{table.path}: column {title!r} has gaps alone; leave it out")


def _changed_kinds(path: str, table: Table, options: ColumnOptions, categorical: set[str]) -> dict[str, str]:
    kinds = dict(table.kinds) | dict.fromkeys(categorical, TEXT)
    for title in select(path, options.numeric, table.kinds, "--numeric"):
        if title in categorical:
            raise ValueError(f"{path}: column {title!r} is both --categorical and --numeric; choose one")
        kinds[title] = NUMBER if kinds[title] in (TEXT, EMPTY) else kinds[title]
    return kinds


def _column(table: Table, title: str, kind: str, role: str, options: ColumnOptions) -> Column:
    path = table.path
    gaps, named = rule_of(options.gaps, title), {column_of_rule(rule) for rule in options.gaps}
    if role != FEATURE:
        if kind == TEXT and role != TARGET:
            raise ValueError(f"{path}: --{role} {title} holds words; numbers are needed")
        return Column(title, kind, role, gaps="drop" if gaps == "drop" else "refuse")
    order = _order(table, title, kind, options)
    if order:
        return Column(title, ORDERED, role, "", gaps, levels=order)
    if kind == TEXT and gaps in ("mean", "median"):
        if title in named:
            raise ValueError(f"{path}: column {title!r} holds words, which have no {gaps}; use --gaps {title}=level")
        gaps = "level"
    encode = _encode(path, title, kind, options)
    return Column(title, kind, role, encode, gaps, rule_of(options.unseen, title) or "ignore")


def _order(table: Table, title: str, kind: str, options: ColumnOptions) -> tuple[str, ...]:
    """Return the order of a column's levels that the user states, or else the file; () if there is none."""
    named = tuple(rule for rule in options.encode if column_of_rule(rule))
    wanted = rule_of(named, title)
    if not wanted:
        stated = title in select(table.path, options.categorical, table.kinds, "--categorical")
        return () if kind != TEXT or stated else tuple(table.orders.get(title, ()))
    spec = encoding(wanted)
    if spec.name != "ordered":
        return ()
    if kind not in (TEXT, NUMBER):
        raise ValueError(f"{table.path}: column {title!r} holds {kind}; an order is for words and numbers")
    return order_of(str(spec.options["levels"]))


def _encode(path: str, title: str, kind: str, options: ColumnOptions) -> str:
    """Return the encoding of a feature; for numbers a spline, or none."""
    named = tuple(rule for rule in options.encode if column_of_rule(rule))
    wanted = rule_of(options.encode if kind == TEXT else named, title)
    spline = bool(wanted) and encoding(wanted).name == "spline"
    if spline and kind in (TEXT, BOOLEAN):
        raise ValueError(f"{path}: column {title!r} holds {kind}; a spline is for numbers and dates")
    if kind == TEXT:
        return wanted or "onehot"
    if wanted and not spline and any(column_of_rule(rule) == title for rule in named):
        raise ValueError(f"{path}: column {title!r} holds {kind}; for {wanted} say --categorical {title} as well")
    return wanted if spline else ""


def select(path: str, patterns: Iterable[str], kinds: Mapping[str, str], flag: str) -> set[str]:
    """Return the titles that names, wildcards or types mean; ValueError if one means none."""
    found: set[str] = set()
    for pattern in patterns:
        if pattern in kinds:
            found.add(pattern)
            continue
        if is_wild(pattern):
            matching = {title for title in kinds if fnmatchcase(title, pattern)}
        elif pattern in TYPES:
            found |= {title for title, kind in kinds.items() if kind == TYPES[pattern]}
            continue
        else:
            matching = set()
        if not matching:
            refuse_unknown(path, [pattern], kinds, flag)
        found |= matching
    return found


def is_wild(pattern: str) -> bool:
    """Return whether a name is a wildcard."""
    return any(mark in pattern for mark in WILD)


def refuse_unknown(path: str, titles: Sequence[str], known: Iterable[str], flag: str, among: str = "") -> None:
    """Raise ValueError at a title that no column has, with the nearest one; `among` says which columns they are."""
    known = [*known]
    for title in titles:
        if title not in known:
            near = nearest(title, known) or f"; the columns are {listed(known)}"
            raise ValueError(f"{path}: {flag}: there is no column {title!r}{among and ' ' + among}{near}")


def listed(titles: Iterable[str], most: int = 20) -> str:
    """Return titles for a message."""
    every = [*titles]
    return ", ".join(every[:most]) + (", …" if len(every) > most else "")


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
