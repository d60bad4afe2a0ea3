"""Read the tables of a study's job file: keys become fields of a dataclass, lists of a [[grid]] become cells."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import coerce, name_and_options

Cell = TypeVar("Cell")


def read_cells(
    cell: Callable[..., Cell],
    grids: Iterable[Mapping[str, Any]],
    examples: Mapping[str, object],
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Cell, ...]:
    """Return the cells of all [[grid]] tables: every combination of the lists of a table, each cell once.

    Parameters
    ----------
    cell
        Makes a cell from one item of each list, in the order of `examples`.
    grids
        The tables.
    examples
        For each list, a value of the type of its items; None accepts any type.
    defaults
        Lists that a table may leave out.

    Raises
    ------
    ValueError
        If there is no table, a list is missing or unknown, or an item has another type.
    """
    cells: dict[Cell, None] = {}
    for grid in grids:
        lists = {**(defaults or {}), **grid}
        for name in lists.keys() - examples.keys():
            hint = f"{nearest(name, examples)}; its lists are {', '.join(examples)}"
            raise ValueError(f"a [[grid]] has no list {name!r}{hint}")
        for name in examples:
            if not isinstance(lists.get(name), list):
                raise ValueError(f"a [[grid]] needs a list {name!r}, not {lists.get(name)!r}")
        items = [[coerce(name, item, example) for item in lists[name]] for name, example in examples.items()]
        cells.update(dict.fromkeys(itertools.starmap(cell, itertools.product(*items))))
    if not cells:
        raise ValueError(f"a study needs at least one [[grid]] with {', '.join(examples)}")
    return tuple(cells)


def read_fields(
    part: type[Any],
    table: Mapping[str, Any],
    where: str,
    apart: Collection[str] = (),
    text_lists: Collection[str] = (),
) -> dict[str, Any]:
    """Return the values of a table, each in the type of the default of the dataclass `part`.

    A field whose default is a tuple is read from a list of numbers, or of words if it is name_and_options in
    `text_lists`. The
    fields `apart` are not read from this table.

    Raises
    ------
    ValueError
        If a key is unknown or a value has another type.
    """
    known = {f.name: f.default for f in dataclasses.fields(part) if f.name not in apart}
    for key in table.keys() - known.keys():
        raise ValueError(f"{where} has no key {key!r}{nearest(key, known)}; the keys are {', '.join(known)}")
    return {
        key: _read_list(key, value, "" if key in text_lists else 0.0)
        if isinstance(known[key], tuple)
        else coerce(key, value, known[key])
        for key, value in table.items()
    }


def _read_list(key: str, value: object, example: object) -> tuple[Any, ...]:
    """Return the items of a list, all of one type."""
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list, not {value!r}")
    return tuple(coerce(key, item, example) for item in value)


def make_plugin(family: type[Any], text: str) -> Any:
    """Make a plug-in from its name and options: `name[option=value]`."""
    return family.make(*name_and_options(text, family.known()))


def check_positive(part: object, *names: str) -> None:
    """Refuse fields that are not greater than 0, with a ValueError that names the field."""
    for name in names:
        if not getattr(part, name) > 0:
            raise ValueError(f"{name} must be greater than 0, not {getattr(part, name)}")


def as_plain(job: object, *apart: str) -> dict[str, Any]:
    """Return the fields of a job as plain values, without the cells and the fields `apart`."""
    return {name: value for name, value in vars(job).items() if name not in ("cells", *apart)}
