"""Study files: the tables of every cell, the job, and where they come from.

The HDF5 file of a study: a group for each cell, from the plain values that its JSON file holds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.core.files import write_whole
from mpiopt.core.hdf5 import FORMAT, LIBVER, check_format, open_read
from mpiopt.results import provenance
from mpiopt.results.provenance import Provenance

STUDY = "mpiopt study"


class StoredCell(NamedTuple):
    """What is stored of a cell."""

    attributes: Mapping[str, Any]
    tables: Mapping[str, NDArray[np.void]]


def write_study(path: str | Path, kind: str, groups: Mapping[str, StoredCell], provenance: Provenance) -> None:
    """Write the file, all or nothing.

    Raises
    ------
    OSError
        One line that names the file and the cause.
    """
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as f:
        f.attrs.update({"kind": STUDY, "format": FORMAT, "study": kind})
        for name, (attributes, tables) in groups.items():
            group = f.create_group(name)
            group.attrs.update(attributes)
            for key, table in tables.items():
                group[key] = table
        f["job"] = provenance.job
        apart = {k: v for k, v in vars(provenance).items() if k not in ("job", "versions")}
        f.create_group("provenance").attrs.update({**provenance.versions, **apart})
    write_whole(Path(path), image.getvalue())


def read_study(path: str | Path) -> dict[str, StoredCell]:
    """Give the groups of a study file by name.

    Raises
    ------
    ValueError
        One line: missing, foreign or truncated file.
    """
    with open_read(Path(path)) as f:
        check_format(f, Path(path), STUDY)
        cells = {name: group for name, group in f.items() if name not in ("job", "provenance")}
        return {n: StoredCell(dict(g.attrs), {key: g[key][()] for key in g}) for n, g in cells.items()}


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
        provenance.Provenance(job=json.dumps(job), seed=int(job.get("seed", 0)), data="made up or as the job says"),
    )
    write_study(path, kind, {f"cell-{i:03d}": group(cell) for i, cell in enumerate(tree["cells"])}, said)
    return [path]


def group(cell: Mapping[str, Any]) -> StoredCell:
    """Give numbers and words as attributes, lists of numbers as arrays, all else as JSON."""
    attributes: dict[str, Any] = {}
    tables: dict[str, NDArray[Any]] = {}
    for key, value in cell.items():
        array = numbers(value)
        if array is not None:
            tables[key] = array
        else:
            attributes[key] = value if isinstance(value, str | int | float) else json.dumps(value)
    return StoredCell(attributes, tables)


def numbers(value: Any) -> NDArray[Any] | None:
    """Give a list of numbers, or of as long lists of them, as an array; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    try:
        array = np.array(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "if" else None
