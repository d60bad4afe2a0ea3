"""Outcomes as tables of the study's HDF5 file; the names of tables and columns never change."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.studies.failure.outcome import FailureOutcome
from mpiopt.studies.parameter_server.runtime.actor import Counts
from mpiopt.studies.storage import StoredCell

UPDATE = [("seconds", "f8"), ("version", "i8"), ("gradients", "i8"), ("step", "f8")]
ACCURACY = [("seconds", "f8"), ("version", "i8"), ("accuracy", "f8")]
EVENT = [("seconds", "f8"), ("what", "S8"), ("rank", "i8"), ("role", "S8"), ("first", "?")]
KILL = [("seconds", "f8"), ("downtime", "f8"), ("undone", "i8"), ("backlog", "i8"), ("before", "f8"), ("after", "f8")]
COUNTS = [(f.name, "f8" if f.type == "float" else "i8") for f in dataclasses.fields(Counts)]
LIFE = [("rank", "i8"), ("life", "i8"), ("role", "S8"), *COUNTS]


def stored_outcome(o: FailureOutcome) -> StoredCell:
    """Return the attributes and tables of a run."""
    events = [(e.seconds, e.what.encode(), e.rank, e.role.name.lower().encode(), e.first) for e in o.events]
    lives = [(*one[:2], one.role.name.lower().encode(), *dataclasses.astuple(one.counts)) for one in o.lives]
    tables = {
        "updates": table(o.updates, UPDATE),
        "accuracy": table(o.judged, ACCURACY),
        "kills": table(o.kills, KILL),
        "events": table(events, EVENT),
        "lives": table(lives, LIFE),
    }
    return StoredCell({**o.cell._asdict(), "death": o.death, "ranks": o.ranks, "size": o.size}, tables)


def table(rows: Sequence[Any], columns: list[tuple[str, str]]) -> NDArray[np.void]:
    """Return rows as a structured array."""
    return np.array([tuple(row) for row in rows], columns)
