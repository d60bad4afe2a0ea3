"""What is done with each column of a table: its role, its encoding, its gaps; from the options of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import prod

from mpiopt.core.config.columns import (
    MOST_BITS,
    ColumnOptions,
    column_of_rule,
    encoding,
    order_of,
    rule_of,
    titles_of,
)
from mpiopt.core.config.registry import nearest
from mpiopt.data.tables.arrow import BOOLEAN, EMPTY, NUMBER, ORDERED, TEXT
from mpiopt.data.tables.column import FEATURE, ROLES, TARGET, TYPES, Column, interactions
from mpiopt.data.tables.table import Table

WILD = "*?["


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
