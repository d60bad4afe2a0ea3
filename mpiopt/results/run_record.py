"""The record of a run: read from its result file, or from its newest checkpoint before it has ended."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root, text_from_root
from mpiopt.core.history import Event, events_from_text, rows_from_text, table
from mpiopt.core.seal import DamagedFile
from mpiopt.objective.diagnostics import Diagnostics
from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.resilience.checkpoint.header import Head, flatten
from mpiopt.results.contents import contents, read_head
from mpiopt.results.model import FittedModel
from mpiopt.results.path_table import PathTable
from mpiopt.results.result_file import read_result

Table = NDArray[np.void]


@dataclass(frozen=True, eq=False)
class RunRecord:
    """The content of a run's file; `model`, `traffic` and `time` are None before the run has ended."""

    path: Path
    finished: bool
    history: Table  # a row for each evaluation, with the fields of `HistoryRow`
    job: str  # TOML
    provenance: dict[str, Any]
    events: list[Event] = field(default_factory=list)
    test: dict[str, float] = field(default_factory=dict)
    model: FittedModel | None = None
    traffic: Table | None = None  # a row for each rank, since the run was last started
    time: Table | None = None
    diagnostics: Diagnostics | None = None
    phases: Table | None = None  # a row for each rank and evaluation
    points: PathTable | None = None  # of a result of the command `path`

    @property
    def finished_model(self) -> FittedModel:
        """The model; ValueError if the run has not ended."""
        if self.model is None:
            raise ValueError(f"{self.path}: the run has not ended, there is no model yet")
        return self.model

    @property
    def kind(self) -> str:
        """The name of the certificate."""
        return str(self.provenance.get("certificate_kind") or "certificate")

    @property
    def settings(self) -> dict[str, str]:
        """The keys of the job, `table.key`, with their values as text."""
        try:
            return {key: str(value) for key, value in flatten(tomllib.loads(self.job)).items()}
        except tomllib.TOMLDecodeError:
            return {}

    @property
    def tol(self) -> float:
        """The tolerance of the run; 0 if the job has none."""
        try:
            return float(self.settings.get("stop.tol", "0"))
        except ValueError:
            return 0.0

    @property
    def problem(self) -> tuple[str, ...]:
        """What was minimised: runs with an equal `problem` have the same optimum."""
        parts = (str(self.provenance.get(key, "")) for key in ("objective", "data_checksum", "loss", "penalty"))
        settings = self.settings
        held_out = settings.get("data.holdout", "0.0") != "0.0"
        return (*parts, settings.get("seed", "") if held_out else "")  # another seed holds out other rows


def read_record(path: str | Path) -> RunRecord:
    """Read a run: a result, a checkpoint, or a folder of checkpoints, also by the name of a result still to come.

    Raises
    ------
    ValueError
        One line: the file is missing, damaged, or of another kind.
    """
    place = Path(path)
    folder = place if place.is_dir() else place.with_suffix(".ckpt")
    if not place.is_file() and folder.is_dir():
        return _newest(folder)
    found = contents(place)
    if found.kind == "mpiopt checkpoint":
        return _unfinished(place, read_head(place))
    r = read_result(place)
    return RunRecord(
        place,
        True,
        r.history,
        r.job,
        r.provenance,
        r.events,
        r.test,
        r.model,
        r.traffic,
        r.time,
        r.diagnostics,
        r.phases,
        r.path,
    )


def with_history(path: str | Path) -> RunRecord:
    """Read a run that has at least one evaluation; ValueError, one line, if it has none."""
    record = read_record(path)
    if len(record.history) == 0:
        raise ValueError(f"{path}: the history is empty, there is nothing to show")
    return record


def show_sound(
    comm: Comm, paths: Sequence[str], check: Callable[[str], object], show: Callable[[list[str]], str]
) -> None:
    """Print what `show` returns for the files that can be read, then refuse the others; collective.

    Parameters
    ----------
    comm : Comm
        The ranks; rank 0 reads.
    paths : sequence of str
        The files.
    check : callable
        Reads one file; ValueError if it cannot be read.
    show : callable
        Returns the text to print.

    Raises
    ------
    ValueError
        One line with all files that cannot be read, after the others were shown.
    """

    def work() -> str:
        sound, faults = [], []
        for path in paths:
            try:
                check(path)
                sound.append(path)
            except ValueError as fault:
                faults.append(str(fault))
        if not sound:
            raise ValueError("; ".join(faults))
        return json.dumps([show(sound), "; ".join(faults)])

    text, fault = json.loads(text_from_root(comm, work))
    print_on_root(comm, text)
    if fault:
        raise ValueError(fault)


def names(paths: Sequence[str | Path]) -> list[str]:
    """Return file names without suffix, and with their folders if names alone are not unique."""
    stems = [Path(p).stem for p in paths]
    return stems if len(set(stems)) == len(stems) else [str(Path(p).with_suffix("")) for p in paths]


def _newest(folder: Path) -> RunRecord:
    files, error = CheckpointFolder(folder), ValueError(f"{folder}: there is no checkpoint in this folder")
    for number in files.committed():
        try:
            return _unfinished(files.path(number), read_head(files.path(number)))
        except ValueError as damage:
            error = damage
    raise error


def _unfinished(path: Path, head: Head) -> RunRecord:
    meta = head.meta
    job = str(meta.get("job", ""))
    try:
        checksum = tomllib.loads(job).get("data_checksum", "") if job else ""
        history = table(rows_from_text(str(meta.get("history", "[]"))))
        events = events_from_text(str(meta.get("events", "[]")))
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedFile(f"{path}: damaged checkpoint: {' '.join(str(error).split())}") from None
    provenance = {"ranks": head.size, "data_checksum": checksum, "rows": head.total, "round": head.k}
    if meta.get("run_id"):
        provenance["run_id"] = str(meta["run_id"])
    return RunRecord(path, False, history, job, provenance, events)
