"""Study files: the tables of every cell, the job, and where they come from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.hdf5.files import FORMAT, LIBVER, check_format, open_read
from mpiopt.overwriting import write_whole
from mpiopt.provenance import Provenance

STUDY = "mpiopt study"


class Group(NamedTuple):
    """What is stored of a cell."""

    attributes: Mapping[str, Any]
    tables: Mapping[str, NDArray[np.void]]


def write_study(path: str | Path, kind: str, groups: Mapping[str, Group], provenance: Provenance) -> None:
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


def read_study(path: str | Path) -> dict[str, Group]:
    """Give the groups of a study file by name.

    Raises
    ------
    ValueError
        One line: missing, foreign or truncated file.
    """
    with open_read(Path(path)) as f:
        check_format(f, Path(path), STUDY)
        cells = {name: group for name, group in f.items() if name not in ("job", "provenance")}
        return {n: Group(dict(g.attrs), {key: g[key][()] for key in g}) for n, g in cells.items()}
