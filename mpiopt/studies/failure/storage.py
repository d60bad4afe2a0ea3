"""Outcomes as tables of the study's HDF5 file; the names of tables and columns never change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from mpiopt.studies.failure.outcome import FailureOutcome, Kill
from mpiopt.studies.parameter_server.runtime.actor import Counts
from mpiopt.studies.parameter_server.runtime.log import Accuracy, ServerEvent, Update
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.storage import StoredCell

DTYPES = {float: "f8", int: "i8", str: "S8", Role: "S8", bool: "?"}  # of columns


def stored_outcome(o: FailureOutcome) -> StoredCell:
    """Return the attributes and tables of a run."""
    events = [event._replace(role=event.role.name.lower()) for event in o.events]  # type: ignore[arg-type]
    lives = [(*one[:2], one.role.name.lower(), *dataclasses.astuple(one.counts)) for one in o.lives]
    tables = {
        "updates": table(o.updates, get_type_hints(Update)),
        "accuracy": table(o.judged, get_type_hints(Accuracy)),
        "kills": table(o.kills, get_type_hints(Kill)),
        "events": table(events, get_type_hints(ServerEvent)),
        "lives": table(lives, {"rank": int, "life": int, "role": str, **get_type_hints(Counts)}),
    }
    return StoredCell({**o.cell._asdict(), "death": o.death, "ranks": o.ranks, "size": o.size}, tables)


def table(rows: Iterable[Any], columns: Mapping[str, type]) -> NDArray[np.void]:
    """Return rows as a structured array; `columns` are names and types."""
    return np.array([tuple(row) for row in rows], [(name, DTYPES[kind]) for name, kind in columns.items()])
