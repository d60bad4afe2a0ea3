"""Result files: the model, the history, the job and the provenance of one run."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root
from mpiopt.core.files import write_whole
from mpiopt.core.hdf5 import FORMAT, LIBVER, RESULT, check_format, open_read
from mpiopt.core.history import UNITS, Event, HistoryRow, table
from mpiopt.results.model import FittedModel
from mpiopt.results.provenance import Provenance

EVENT = np.dtype(
    [("seconds", "f8"), ("round", "i8"), ("kind", h5py.string_dtype()), ("rank", "i8"), ("text", h5py.string_dtype())]
)


@dataclass(frozen=True, eq=False)
class RunCosts:
    """What each rank has spent since the run was last started: one row for each rank."""

    traffic: NDArray[np.void]  # (ranks,), with the columns of `mpiopt.comm.accounting.COUNTS`
    time: NDArray[np.void]  # (ranks,), seconds in each phase of the clock, in "other" and in "total"


@dataclass(frozen=True, eq=False)
class Result:
    """The content of a result file."""

    model: FittedModel
    history: NDArray[np.void]  # one row for each evaluation, with the fields of `HistoryRow`
    job: str
    provenance: dict[str, Any]
    traffic: NDArray[np.void] | None = None  # as in `RunCosts`; None in files of earlier versions
    time: NDArray[np.void] | None = None
    events: list[Event] = field(default_factory=list)
    test: dict[str, float] = field(default_factory=dict)  # metrics of the test rows

    @property
    def coef(self) -> NDArray[np.float64]:
        """Coefficients (outputs, d) in the units of the input file."""
        return self.model.coef

    @property
    def intercept(self) -> NDArray[np.float64]:
        """Constants (outputs,)."""
        return self.model.intercept


def write_result(
    path: str | Path,
    *,
    model: FittedModel,
    history: Sequence[HistoryRow],
    provenance: Provenance,
    comm: Comm,
    costs: RunCosts | None = None,
    events: Sequence[Event] = (),
    test: Mapping[str, float] | None = None,
) -> None:
    """Write the result file, all or nothing; collective, rank 0 writes.

    Parameters
    ----------
    path : str or Path
        The file.
    model : FittedModel
        The model.
    history : sequence of HistoryRow
        One row for each exact evaluation.
    provenance : Provenance
        Where the result comes from.
    comm : Comm
        The ranks.
    costs : RunCosts, optional
        Traffic and seconds of each rank.
    events : sequence of Event
        Restarts, losses and recoveries.
    test : mapping, optional
        Metrics of the test rows by name.

    Raises
    ------
    OSError
        On all ranks, one line with the file and the cause.
    """
    place = Path(path)
    run_on_root(comm, lambda: write_whole(place, _image(model, history, provenance, costs, events, test or {})))


def read_result(path: str | Path) -> Result:
    """Read a result file.

    Raises
    ------
    ValueError
        One line: the file is missing, truncated, of another kind, or of an unknown format.
    """
    place = Path(path)
    with open_read(place) as f:
        check_format(f, place, RESULT)
        try:
            provenance = {k: v.item() if isinstance(v, np.generic) else v for k, v in f["provenance"].attrs.items()}
            rest = {name: f[name][()] for name in ("traffic", "time") if name in f}
            events = _events(f["events"][()]) if "events" in f else []
            test = {k: float(v) for k, v in f["test"].attrs.items()} if "test" in f else {}
            history, job = f["history"][()], f["job"].asstr()[()]
            return Result(_model(f["model"]), history, job, provenance, **rest, events=events, test=test)
        except (KeyError, OSError, RuntimeError) as error:
            raise ValueError(f"{place}: damaged {RESULT} ({' '.join(str(error).split())})") from None


def _image(
    model: FittedModel,
    history: Sequence[HistoryRow],
    provenance: Provenance,
    costs: RunCosts | None,
    events: Sequence[Event],
    test: Mapping[str, float],
) -> bytes:
    # The file is made in memory and written as bytes: on a full disk the error is then the system's, not HDF5's.
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as f:
        f.attrs.update({"kind": RESULT, "format": FORMAT})
        _write_model(f.create_group("model"), model)
        rows = f.create_dataset("history", data=table(history))
        rows.attrs["units"] = ", ".join(f"{name}: {unit}" for name, unit in UNITS.items())
        if costs is not None:
            f["traffic"], f["time"] = costs.traffic, costs.time
        f["events"] = np.array(list(events), EVENT)
        f.create_group("test").attrs.update(test)
        f["job"] = provenance.job
        f.create_group("provenance").attrs.update(_attributes(provenance))
    return image.getvalue()


def _events(rows: NDArray[np.void]) -> list[Event]:
    return [Event(s, k, kind.decode(), rank, text.decode()) for s, k, kind, rank, text in rows.tolist()]


def _write_model(group: h5py.Group, model: FittedModel) -> None:
    for part in dataclasses.fields(model):
        value = getattr(model, part.name)
        if value is not None:
            group[part.name] = _storable(value)
    group.attrs["formula"] = "margins = coef · x + intercept, x in the units of the input file"


def _model(group: h5py.Group) -> FittedModel:
    found = {part.name: group[part.name] for part in dataclasses.fields(FittedModel) if part.name in group}
    arrays = {name: d.asstr()[()] if h5py.check_string_dtype(d.dtype) else d[()] for name, d in found.items()}
    if "feature_names" in arrays:
        arrays["feature_names"] = arrays["feature_names"].tolist()
    return FittedModel(**arrays)


def _storable(value: Any) -> Any:
    """Return a value as HDF5 can store it: text as UTF-8 of variable length."""
    array = np.asarray(value)
    return array.astype(h5py.string_dtype()) if array.dtype.kind in "UO" else array


def _attributes(provenance: Provenance) -> dict[str, Any]:
    fields = dataclasses.asdict(provenance)
    del fields["job"]
    return {**fields.pop("versions"), "hdf5": h5py.version.hdf5_version, **fields}
