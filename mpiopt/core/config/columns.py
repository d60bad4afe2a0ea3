"""The columns of a table: which are target, weights and features, and how each becomes numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from mpiopt.core.config.spec import PluginSpec, parse_spec

Names = tuple[str, ...]
GAPS = ("refuse", "drop", "mean", "median", "level")
ENCODINGS: dict[str, dict[str, object]] = {
    "onehot": {"least": 1, "drop": "none"},
    "hash": {"bits": 14},
    "spline": {"knots": 5, "degree": 3, "drop": "none", "shape": "free"},
    "ordered": {"levels": ""},
}
BELOW = "<"  # between the levels of an order
NAMED = {"spline": "age=spline[knots=5]", "ordered": "size=ordered[levels=S<M<L]"}  # encodings of named columns
UNSEEN = ("ignore", "refuse")
MOST_BITS = 26  # of a hash: 67 million columns
MOST_COUNT = 2**63  # rows of a level
MOST_KNOTS, MOST_DEGREE = 1000, 10  # beyond that a spline is noise
RISING, FALLING = "rising", "falling"  # shapes of splines
WORDS = {"drop": ("none", "first"), "shape": ("free", RISING, FALLING)}  # values of options that are no numbers
SUM = "sum"  # of onehot, also a value of drop: the levels of a column sum to zero
RANGES = {"bits": (1, MOST_BITS), "knots": (2, MOST_KNOTS), "degree": (1, MOST_DEGREE)}


@dataclass(frozen=True)
class ColumnOptions:
    """The columns of a table of words, gaps, dates and numbers, and how each is encoded.

    Each field is a key of the table [data.columns] of the job file, and a flag of `train`. Columns are named by their
    titles, by wildcards such as `bill_*`, or by a type: numeric, categorical, boolean, date.

    Raises
    ------
    ValueError
        If a value is not allowed; the message lists the allowed ones.

    Examples
    --------
    >>> options = ColumnOptions(target="claims", exposure="years", gaps=("level", "age=median"))
    >>> rule_of(options.gaps, "age"), rule_of(options.gaps, "region")
    ('median', 'level')
    """

    target: str = ""
    """column of the target; a table with words needs it"""
    weights: str = ""
    """column of the weights of the rows"""
    offset: str = ""
    """column added to the margin of a row; every loss but softmax"""
    exposure: str = ""
    """column of the exposures, whose logarithms are offsets; losses with a logarithmic link"""
    drop: Names = ()
    """columns that are left out: names, wildcards or types, with commas between"""
    columns: Names = ()
    """features to use: names, wildcards or types; default: all other columns"""
    categorical: Names = ()
    """columns whose values are levels, also if they look like numbers"""
    numeric: Names = ()
    """columns whose values are numbers, also if they are stored as text"""
    encode: Names = ("onehot",)
    """onehot[least=10,drop=first], hash[bits=14]; for some: age=spline[shape=rising],size=ordered[levels=S<M<L]"""
    interactions: Names = ()
    """products of the features of columns, beside the features themselves: age:region,city:smoker"""
    gaps: Names = ("refuse",)
    """what fills gaps: refuse, drop (the row), mean, median, level; for some columns: age=median,job=level"""
    unseen: Names = ("ignore",)
    """levels that a later file has and the training had not: ignore, refuse; for some columns: city=refuse"""
    max_levels: int = 10000
    """levels of a column above which it is refused"""
    titles: Names = ()
    """titles of the columns of a text without a line of titles"""

    asked: ClassVar[tuple[str, ...]] = (
        "target", "weights", "offset", "exposure", "drop", "columns", "categorical", "numeric", "titles",
        "interactions",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, allowed in (("gaps", GAPS), ("unseen", UNSEEN)):
            for rule in getattr(self, name):
                if value_of_rule(rule) not in allowed:
                    raise ValueError(f"{name} must be {', '.join(allowed)}, or column=value; not {rule!r}")
        for rule in self.encode:
            name = encoding(value_of_rule(rule)).name
            if name in NAMED and not column_of_rule(rule):
                raise ValueError(f"encode: this encoding is for columns that are named: {NAMED[name]}")
        for rule in self.interactions:
            titles = titles_of(rule)
            if len(titles) < 2 or not all(titles) or len({*titles}) < len(titles):
                raise ValueError(f"interactions must name different columns with colons between: a:b; not {rule!r}")
        if self.max_levels < 2:
            raise ValueError(f"max_levels must be at least 2, not {self.max_levels}")

    @property
    def names_any(self) -> bool:
        """Whether the user has said anything that only a table has."""
        return any(getattr(self, name) for name in self.asked)


def split_names(text: str) -> Names:
    """Split a text at its commas, but not inside of brackets.

    Examples
    --------
    >>> split_names("city=hash[bits=4,x=1], age")
    ('city=hash[bits=4,x=1]', 'age')
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts if part.strip())


def titles_of(interaction: str) -> Names:
    """Return the columns of an interaction `a:b`."""
    return tuple(title.strip() for title in interaction.split(":"))


def column_of_rule(rule: str) -> str:
    """Return the column of a rule `column=value`; "" for a rule of all columns."""
    return rule.partition("[")[0].rpartition("=")[0].strip() if _has_column(rule) else ""


def value_of_rule(rule: str) -> str:
    """Return the value of a rule `column=value` or `value`."""
    head, bracket, options = rule.partition("[")
    return (head.rpartition("=")[2] + bracket + options).strip()


def _has_column(rule: str) -> bool:
    return "=" in rule.partition("[")[0]


def rule_of(rules: Names, title: str) -> str:
    """Return the value for a column that a rule names, by its title or a wildcard, else for all columns."""
    named = [rule for rule in rules if column_of_rule(rule) == title]
    named = named or [rule for rule in rules if fnmatchcase(title, column_of_rule(rule))]
    general = [rule for rule in rules if not column_of_rule(rule)]
    return value_of_rule((named or general or [""])[-1])


def encoding(text: str) -> PluginSpec:
    """Return an encoding with all its options.

    Raises
    ------
    ValueError
        If there is no such encoding or option, or its value is out of range.
    """
    spec = parse_spec(text)
    if spec.name not in ENCODINGS:
        raise ValueError(f"encode must be {', '.join(ENCODINGS)}, or column=value; not {text!r}")
    known = ENCODINGS[spec.name]
    for key, value in spec.options.items():
        if key not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"encode: {spec.name} has no option {key!r}; its options: {listed}")
        if key == "levels":
            continue
        least, most = RANGES.get(key, (1, MOST_COUNT))
        whole = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        words = (*WORDS.get(key, ()), *((SUM,) if spec.name == "onehot" else ()))
        if not ((value or "none") in words if key in WORDS else whole):
            bounds = f"{least} to {most}" if key in RANGES else f"a whole number of at least {least}"
            allowed = f"{', '.join(words[:-1])} or {words[-1]}" if key in WORDS else bounds
            raise ValueError(f"encode: {spec.name}[{key}] must be {allowed}, not {value!r}")
    if spec.name == "ordered":
        levels = order_of(str(spec.options.get("levels", "")))
        if len(levels) < 2 or not all(levels) or len({*levels}) < len(levels):
            raise ValueError(f"encode: ordered needs different levels with {BELOW} between: {NAMED['ordered']}")
    return PluginSpec(spec.name, {**known, **spec.options})


def order_of(text: str) -> Names:
    """Return the levels of an order `S<M<L`, from the lowest."""
    return tuple(level.strip() for level in text.split(BELOW))
