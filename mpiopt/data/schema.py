"""What a model must know of its training file, so that another file is read as that one was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where a file has its labels or weights; both fields are empty if it has none."""

    title: str = ""  # of the column; the name of the array or dataset
    number: int | None = None  # of the column in a table, from 1


NOWHERE = Place()


@dataclass(frozen=True)
class Schema:
    """The schema of a data file: its format, and where label, weight and features are.

    A reader fills what it has found when it opens a file; `mpiopt.data.dataset.prepare` adds what the rows decide.

    Parameters
    ----------
    format : str
        Name of the reader.
    options : mapping of str to str
        Its options that are not the defaults, and what `auto` has found, such as the `base` of LIBSVM's indices.
    label, weight : Place
        Where the labels and the weights are.
    columns : int or None
        Columns of a table, those of label and weight included; None if the file is no table.
    names : tuple of str or None
        Titles of the features.
    features : int
        Number of features d.
    target : str
        Kind of the labels: "binary", "multiclass", "real" or "count".
    scale : str
        How columns or rows were scaled.
    kind : str
        Type in which the rows were stored: "float64" or "float32".
    table : mapping
        Of a table of columns: `columns` with types, levels, encodings and gaps, as
        `mpiopt.data.tables.column.to_tree` writes them; the `titles` given for a text without any; the `link` of an
        offset. Empty for other files.

    Examples
    --------
    >>> schema = Schema("csv", {"label": "first"}, label=Place("age", 1), columns=3, names=("a", "b"), features=2)
    >>> read_schema(schema.text(), schema.names) == schema
    True
    """

    format: str
    options: Mapping[str, str] = field(default_factory=dict)
    label: Place = NOWHERE
    weight: Place = NOWHERE
    columns: int | None = None
    names: tuple[str, ...] | None = None
    features: int = 0
    target: str = ""
    scale: str = "none"
    kind: str = "float64"
    table: Mapping[str, Any] = field(default_factory=dict)

    def at(self, label: Place = NOWHERE, weight: Place = NOWHERE) -> Schema:
        """Return the schema with these places of label and weight."""
        return replace(self, label=label, weight=weight)

    def text(self) -> str:
        """Return the schema as JSON, without the titles of the features."""
        tree = asdict(self) | {"label": self.label._asdict(), "weight": self.weight._asdict()}
        del tree["names"]
        return json.dumps(tree, ensure_ascii=False)


def read_schema(text: str, names: Sequence[str] | None) -> Schema:
    """Return the schema of a text that `Schema.text` made; keys of later versions are left out."""
    tree: dict[str, Any] = {k: v for k, v in json.loads(text).items() if k in Schema.__dataclass_fields__}
    for key in ("label", "weight"):
        tree[key] = Place(**tree.get(key, {}))
    found = Schema(**tree, names=None if names is None else tuple(names))
    whole = isinstance(found.options, dict) and isinstance(found.table, dict)
    titles = found.table.get("titles", []) if whole else None
    if not isinstance(titles, list) or not all(isinstance(title, str) for title in titles):
        raise ValueError("the schema of the training file is damaged")
    return found
