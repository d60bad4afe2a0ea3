"""Outcomes as tables of numbers, for the study's HDF5 file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.results import provenance
from mpiopt.studies.failure.job import FailureStudy, plain
from mpiopt.studies.failure.outcome import FailureOutcome
from mpiopt.studies.parameter_server.runtime.actor import Counts
from mpiopt.studies.storage import StoredCell, write_study

UPDATE = [("seconds", "f8"), ("version", "i8"), ("gradients", "i8"), ("step", "f8")]
ACCURACY = [("seconds", "f8"), ("version", "i8"), ("accuracy", "f8")]
EVENT = [("seconds", "f8"), ("what", "S8"), ("rank", "i8"), ("role", "S8"), ("first", "?")]
KILL = [("seconds", "f8"), ("downtime", "f8"), ("undone", "i8"), ("backlog", "i8"), ("before", "f8"), ("after", "f8")]
COUNTS = [(f.name, "f8" if f.type == "float" else "i8") for f in dataclasses.fields(Counts)]
LIFE = [("rank", "i8"), ("life", "i8"), ("role", "S8"), *COUNTS]


def write(path: str, found: Sequence[FailureOutcome], job: FailureStudy) -> None:
    """Write all outcomes; OSError where that fails."""
    groups = {f"cell-{number:03d}": group(o) for number, o in enumerate(found)}
    said = provenance.gather(
        single(),
        provenance.Provenance(
            job=json.dumps({**plain(job), "cells": job.cells}),
            seed=min(cell.seed for cell in job.cells),
            data=job.data,
            objective=job.network,
        ),
    )
    write_study(path, "failure", groups, said)


def group(o: FailureOutcome) -> StoredCell:
    """Give the tables of a run."""
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


def table(rows: Sequence[Any], kind: list[tuple[str, str]]) -> NDArray[np.void]:
    """Give rows as a table."""
    return np.array([tuple(row) for row in rows], kind)
