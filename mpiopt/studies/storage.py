"""The HDF5 file of a study: one group for each cell, the job, and the provenance."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.core.files import write_whole
from mpiopt.core.hdf5 import FORMAT, LIBVER, check_format, open_read
from mpiopt.results import provenance

STUDY = "mpiopt study"


class StoredCell(NamedTuple):
    """One group of the file."""

    attributes: Mapping[str, Any]
    tables: Mapping[str, NDArray[np.void]]


def write_study(
    path: str | Path,
    study: str,
    cells: Sequence[StoredCell],
    job: Mapping[str, Any],
    seed: int | None = None,
    data: str = "made up or as the job says",
    objective: str = "",
    settings: str = "",
) -> None:
    """Write the cells of a study, all or nothing; the seed is that of the job if none is given.

    Raises
    ------
    OSError
        If the file cannot be written; one line names the file and the cause.
    """
    origin = provenance.gather(
        single(),
        provenance.Provenance(
            job=json.dumps(job),
            seed=int(job.get("seed", 0)) if seed is None else seed,
            data=data,
            objective=objective,
        ),
    )
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as f:
        f.attrs.update({"kind": STUDY, "format": FORMAT, "study": study})
        for number, (attributes, tables) in enumerate(cells):
            group = f.create_group(f"cell-{number:03d}")
            group.attrs.update(attributes)
            for key, table in tables.items():
                group[key] = table
        f["job"] = origin.job
        f["job"].attrs["settings"] = settings
        apart = {k: v for k, v in vars(origin).items() if k not in ("job", "versions")}
        f.create_group("provenance").attrs.update({**origin.versions, **apart})
    write_whole(Path(path), image.getvalue())


def is_study(path: str | Path, study: str, settings: str) -> bool:
    """Return whether a file is that of a study with these settings."""
    try:
        with open_read(Path(path)) as f:
            check_format(f, Path(path), STUDY)
            return bool(f.attrs["study"] == study and f["job"].attrs.get("settings") == settings)
    except ValueError:
        return False


def read_study(path: str | Path) -> dict[str, StoredCell]:
    """Return the cells of a study file by the names of their groups.

    Raises
    ------
    ValueError
        If the file is missing, truncated or of another program; the message is one line.
    """
    with open_read(Path(path)) as f:
        check_format(f, Path(path), STUDY)
        cells = {name: group for name, group in f.items() if name not in ("job", "provenance")}
        return {n: StoredCell(dict(g.attrs), {key: g[key][()] for key in g}) for n, g in cells.items()}


def stored_cell(cell: Mapping[str, Any]) -> StoredCell:
    """Return numbers and words of a cell as attributes, lists of numbers as arrays, everything else as JSON."""
    attributes: dict[str, Any] = {}
    tables: dict[str, NDArray[Any]] = {}
    for key, value in cell.items():
        array = _numbers(value)
        if array is not None:
            tables[key] = array
        else:
            attributes[key] = value if isinstance(value, str | int | float) else json.dumps(value)
    return StoredCell(attributes, tables)


def _numbers(value: Any) -> NDArray[Any] | None:
    """Return a list of numbers, or of equally long lists of numbers, as an array; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    try:
        array = np.array(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "if" else None
