"""What the jobs of all studies are read with: a table's keys to the fields of a dataclass, a grid to its cells."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import coerce


def gridded(kind: type[Any], tree: Mapping[str, Any], cells: Callable[[Mapping[str, Any]], Iterable[Any]]) -> Any:
    """Make a study with the cells of all its [[grid]] tables, each cell once.

    Raises
    ------
    ValueError
        If a key is unknown, or a value is out of its range.
    """
    top = {key: value for key, value in tree.items() if key != "grid"}
    found = dict.fromkeys(itertools.chain(*map(cells, tree.get("grid", ()))))
    return kind(cells=tuple(found), **fields(kind, top, "the job", apart=("cells",)))


def fields(
    kind: type[Any], block: Mapping[str, Any], where: str, apart: Collection[str] = (), texts: Collection[str] = ()
) -> dict[str, Any]:
    """Give the values of a table in the kinds of the dataclass's defaults, but for the fields `apart`.

    A tuple is read from a list of numbers, of words where it is named in `texts`.

    Raises
    ------
    ValueError
        If a key is unknown or a value is of another kind.
    """
    known = {f.name: f.default for f in dataclasses.fields(kind) if f.name not in apart}
    for key in block.keys() - known.keys():
        raise ValueError(f"{where} has no key {key!r}{nearest(key, known)}; the keys are {', '.join(known)}")
    return {k: listed(k, v, "" if k in texts else 0.0) if isinstance(known[k], tuple) else coerce(k, v, known[k])
            for k, v in block.items()}  # fmt: skip


def listed(key: str, value: object, kind: object) -> tuple[Any, ...]:
    """Give each item of a list."""
    if not isinstance(value, list):
        raise ValueError(f"{key} is a list, not {value!r}")
    return tuple(coerce(key, item, kind) for item in value)
