"""The HDF5 file of a study: a group for each cell, from the plain values that its JSON file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt import provenance
from mpiopt.comm.threads import single
from mpiopt.hdf5.study import Group, write_study


def write(path: str, kind: str, tree: Mapping[str, Any]) -> list[str]:
    """Write the cells of a study and where they come from; give the name of the file.

    Raises
    ------
    OSError
        Where it can not be written; in one line.
    """
    job = tree["job"]
    said = provenance.gather(
        single(),
        job=json.dumps(job),
        seed=int(job.get("seed", 0)),
        data="made up or as the job says",
        checksum="",
        objective="",
        loss="",
        penalty="",
    )
    write_study(path, kind, {f"cell-{i:03d}": group(cell) for i, cell in enumerate(tree["cells"])}, said)
    return [path]


def group(cell: Mapping[str, Any]) -> Group:
    """Give numbers and words as attributes, lists of numbers as arrays, all else as JSON."""
    attributes: dict[str, Any] = {}
    tables: dict[str, NDArray[Any]] = {}
    for key, value in cell.items():
        array = numbers(value)
        if array is not None:
            tables[key] = array
        else:
            attributes[key] = value if isinstance(value, str | int | float) else json.dumps(value)
    return Group(attributes, tables)


def numbers(value: Any) -> NDArray[Any] | None:
    """Give a list of numbers, or of as long lists of them, as an array; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    try:
        array = np.array(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "if" else None
