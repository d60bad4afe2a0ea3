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
from mpiopt.core.hdf5 import FORMAT, LIBVER, RESULT, SEALED, NotHdf5, check_format, open_read, text_lock
from mpiopt.core.history import UNITS, Event, HistoryRow, table
from mpiopt.core.seal import DamagedFile, sealed
from mpiopt.data.schema import Schema, read_schema
from mpiopt.data.tables.column import from_tree
from mpiopt.objective.diagnostics import Diagnostics
from mpiopt.results.ending import Ending, ending_of
from mpiopt.results.model import FittedModel
from mpiopt.results.path_table import PathTable
from mpiopt.results.provenance import Provenance

DIAGNOSTICS = ("scores", "means", "residuals", "confusion")  # tables of `Diagnostics`
EVENT = np.dtype(
    [("seconds", "f8"), ("round", "i8"), ("kind", h5py.string_dtype()), ("rank", "i8"), ("text", h5py.string_dtype())]
)


@dataclass(frozen=True, eq=False)
class RunCosts:
    """What each rank has spent since the run was last started: one row for each rank."""

    traffic: NDArray[np.void]  # (ranks,), with the columns of `mpiopt.comm.accounting.COUNTS`
    time: NDArray[np.void]  # (ranks,), seconds in each phase of the clock, in "other" and in "total"
    phases: NDArray[np.void] | None = None  # the same from one evaluation to the next; see `mpiopt.results.phases`


@dataclass(frozen=True, eq=False)
class Result:
    """The content of a result file."""

    model: FittedModel
    history: NDArray[np.void]  # one row for each evaluation, with the fields of `HistoryRow`
    job: str
    provenance: dict[str, Any]
    traffic: NDArray[np.void] | None = None  # as in `RunCosts`; None in files of earlier versions
    time: NDArray[np.void] | None = None
    phases: NDArray[np.void] | None = None
    events: list[Event] = field(default_factory=list)
    test: dict[str, float] = field(default_factory=dict)  # metrics of the test rows
    schema: Schema | None = None  # of the training file; None in files of earlier versions
    diagnostics: Diagnostics | None = None  # how well the model predicts; None in files of earlier versions
    path: PathTable | None = None  # of a result of the command `path`

    @property
    def coef(self) -> NDArray[np.float64]:
        """Coefficients (outputs, d) in the units of the input file."""
        return self.model.coef

    @property
    def intercept(self) -> NDArray[np.float64]:
        """Constants (outputs,)."""
        return self.model.intercept

    @property
    def ending(self) -> Ending:
        """How the run ended."""
        return ending_of(self.provenance)


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
    schema: Schema | None = None,
    diagnostics: Diagnostics | None = None,
    points: PathTable | None = None,
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
    schema : Schema, optional
        The schema of the training file.
    diagnostics : Diagnostics, optional
        How well the model predicts.
    points : PathTable, optional
        The path that the model is a point of.

    Raises
    ------
    OSError
        On all ranks, one line with the file and the cause.
    """
    place = Path(path)

    def write() -> None:
        image = _image(model, history, provenance, costs, events, test or {}, schema, diagnostics, points)
        write_whole(place, image)
        refuse_other(place, model)

    run_on_root(comm, write)


def refuse_other(path: Path, model: FittedModel) -> None:
    """Raise OSError unless the file that was just written has this model, bit for bit."""
    try:
        found = read_result(path).model
    except ValueError as error:
        raise OSError(f"what was written cannot be read back: {error}") from None
    if (found.coef.tobytes(), found.intercept.tobytes()) != (model.coef.tobytes(), model.intercept.tobytes()):
        raise OSError(f"{path}: the model that was read back is not the one that was written")


def read_result(path: str | Path) -> Result:
    """Read a result file.

    Raises
    ------
    ValueError
        One line: the file is missing, truncated, of another kind, or of an unknown format.
    """
    place = Path(path)
    try:
        opened = open_read(place)
    except NotHdf5 as other:
        raise ValueError(f"{other}; the result of a run is expected, RUN.h5 of mpiopt train") from None
    with text_lock, opened as f:
        check_format(f, place, RESULT)
        try:
            found = _result(f)
            fault = _unsound(found)
        except Exception as error:  # whatever a file may hold that another program has made
            fault = " ".join(str(error).split()) or type(error).__name__
    if fault:
        raise DamagedFile(f"{place}: damaged {RESULT} ({fault})")
    return found


def _result(f: h5py.File) -> Result:
    provenance = {k: v.item() if isinstance(v, np.generic) else v for k, v in f["provenance"].attrs.items()}
    rest = {name: f[name][()] for name in ("traffic", "time", "phases") if name in f}
    events = _events(f["events"][()]) if "events" in f else []
    test = {k: float(v) for k, v in f["test"].attrs.items()} if "test" in f else {}
    history, job = f["history"][()], f["job"].asstr()[()]
    model = _model(f["model"])
    schema = _schema(f["model"], model)
    drawn = _diagnostics(f["diagnostics"]) if "diagnostics" in f else None
    points = PathTable.read(f["path"]) if "path" in f else None
    found = Result(model, history, job, provenance, **rest, events=events, test=test, schema=schema)
    return dataclasses.replace(found, diagnostics=drawn, path=points)


def _unsound(result: Result) -> str:
    """Return why a result cannot be that of a run; "" if it can."""
    model, wanted = result.model, table([]).dtype
    arrays = [model.coef, model.intercept, model.centre, model.intercept_at_centre, model.feature_scale]
    if not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays if a is not None):
        return "the model is not made of numbers"
    if model.coef.ndim != 2 or model.intercept.shape != model.coef.shape[:1]:
        return f"coefficients of shape {model.coef.shape}, intercepts of shape {model.intercept.shape}"
    if result.history.ndim != 1 or result.history.dtype != wanted:
        return "the history has other columns"
    if not isinstance(result.job, str) or not isinstance(result.provenance.get("loss", ""), str):
        return "the job is not text"
    return ""


def _image(
    model: FittedModel,
    history: Sequence[HistoryRow],
    provenance: Provenance,
    costs: RunCosts | None,
    events: Sequence[Event],
    test: Mapping[str, float],
    schema: Schema | None,
    diagnostics: Diagnostics | None,
    points: PathTable | None = None,
) -> bytes:
    # The file is made in memory and written as bytes: on a full disk the error is then the system's, not HDF5's.
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as f:
        f.attrs.update({"kind": RESULT, "format": FORMAT, SEALED: 1})
        _write_model(f.create_group("model"), model)
        if schema is not None:
            f["model/schema"] = schema.text()
        rows = f.create_dataset("history", data=table(history))
        rows.attrs["units"] = ", ".join(f"{name}: {unit}" for name, unit in UNITS.items())
        if costs is not None:
            f["traffic"], f["time"] = costs.traffic, costs.time
            if costs.phases is not None:
                f["phases"] = costs.phases
        f["events"] = np.array(list(events), EVENT)
        f.create_group("test").attrs.update(test)
        if diagnostics is not None:
            _write_diagnostics(f.create_group("diagnostics"), diagnostics)
        if points is not None:
            points.write(f.create_group("path"))
        f["job"] = provenance.job
        f.create_group("provenance").attrs.update(_attributes(provenance))
    return sealed(image.getvalue())


def _events(rows: NDArray[np.void]) -> list[Event]:
    return [Event(s, k, kind.decode(), rank, text.decode()) for s, k, kind, rank, text in rows.tolist()]


def _write_model(group: h5py.Group, model: FittedModel) -> None:
    for part in dataclasses.fields(model):
        value = getattr(model, part.name)
        if value is not None:
            group[part.name] = _storable(value)
    formula = "margins = coef · x + intercept, x in the units of the input file"
    if model.centre is not None:
        formula += "; with fewer rounding errors coef · (x - centre) + intercept_at_centre"
    group.attrs["formula"] = formula


def _write_diagnostics(group: h5py.Group, found: Diagnostics) -> None:
    group.attrs["rows"] = found.rows
    for name in DIAGNOSTICS:
        if getattr(found, name) is not None:
            group[name] = getattr(found, name)


def _diagnostics(group: h5py.Group) -> Diagnostics:
    return Diagnostics(str(group.attrs["rows"]), **{name: group[name][()] for name in DIAGNOSTICS if name in group})


def _model(group: h5py.Group) -> FittedModel:
    found = {part.name: group[part.name] for part in dataclasses.fields(FittedModel) if part.name in group}
    arrays = {name: d.asstr()[()] if h5py.check_string_dtype(d.dtype) else d[()] for name, d in found.items()}
    if "feature_names" in arrays:
        arrays["feature_names"] = arrays["feature_names"].tolist()
    return FittedModel(**arrays)


def _schema(group: h5py.Group, model: FittedModel) -> Schema | None:
    if "schema" not in group:
        return None
    schema = read_schema(group["schema"].asstr()[()], model.feature_names)
    if schema.table:
        from_tree(schema.table["columns"])
    return schema


def _storable(value: Any) -> Any:
    """Return a value as HDF5 can store it: text as UTF-8 of variable length."""
    array = np.asarray(value)
    return array.astype(h5py.string_dtype()) if array.dtype.kind in "UO" else array


def _attributes(provenance: Provenance) -> dict[str, Any]:
    fields = dataclasses.asdict(provenance)
    del fields["job"]
    return {**fields.pop("versions"), "hdf5": h5py.version.hdf5_version, **fields}
