"""Runs as pandas frames: `mpiopt.results.open("run.h5").history`. Needs `pip install mpiopt[analysis]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.core.history import Event
from mpiopt.results.model import FittedModel
from mpiopt.results.run_record import RunRecord, read_record

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Run", "open"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run that was opened by `mpiopt.results.open`. Each property makes a new frame.

    Parameters
    ----------
    record : RunRecord
        The content of the file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import mpiopt
    >>> from mpiopt.cli.main import run as command
    >>> from mpiopt.comm.threads import single
    >>> from mpiopt.resilience.signals import StopSignal
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     out = str(pathlib.Path(folder) / "run.h5")
    ...     code = command(["train", "generate:n=200,d=4", "--out", out, "--quiet"], single(), StopSignal())
    ...     run = mpiopt.results.open(out)
    >>> run.finished, run.model.shape, bool(run.history["certificate"].iloc[-1] <= 1e-6)
    (True, (5, 1), True)
    """

    record: RunRecord

    def __repr__(self) -> str:
        end = "finished" if self.finished else "not finished"
        return f"<mpiopt run {self.record.path}: {end}, {len(self.record.history)} evaluations>"

    @property
    def finished(self) -> bool:
        """Whether the run has ended; if not, all properties are those of its newest checkpoint."""
        return self.record.finished

    @property
    def history(self) -> DataFrame:
        """A row for each evaluation: round, epoch, seconds, bytes_sent, objective, certificate …"""
        return _frame(self.record.history)

    @property
    def traffic(self) -> DataFrame:
        """A row for each rank: bytes and messages since the run was last started; empty before the end."""
        return _frame(self.record.traffic, "rank")

    @property
    def time(self) -> DataFrame:
        """A row for each rank: seconds in each phase since the run was last started; empty before the end."""
        return _frame(self.record.time, "rank")

    @property
    def phases(self) -> DataFrame:
        """A row for each rank and evaluation: seconds in each phase since the one before; empty before the end."""
        return _frame(self.record.phases)

    @property
    def events(self) -> DataFrame:
        """A row for each event: seconds, round, kind, rank (-1: all ranks), text."""
        return _pandas().DataFrame(self.record.events, columns=list(Event._fields))

    @property
    def provenance(self) -> Series[Any]:
        """Where the run comes from: command, data, versions, hosts …, by name."""
        return _pandas().Series(self.record.provenance, dtype=object, name="provenance")

    @property
    def settings(self) -> Series[Any]:
        """The keys of the job, `table.key`, with their values as text."""
        return _pandas().Series(self.record.settings, dtype=object, name="settings")

    @property
    def job(self) -> str:
        """The job as TOML."""
        return self.record.job

    @property
    def test(self) -> Series[Any]:
        """The metrics of the test rows by name; empty without test rows."""
        return _pandas().Series(self.record.test, dtype=float, name="test")

    @property
    def model(self) -> DataFrame:
        """A row for each feature and a last row, `(intercept)`; a column for each output.

        The columns are named by the classes. With two classes there is one column, that of the second class, which
        positive margins predict.

        Raises
        ------
        ValueError
            If the run has not ended.
        """
        fitted = self.record.finished_model
        features = fitted.feature_names or [f"x{i + 1}" for i in range(fitted.coef.shape[1])]
        values = np.column_stack([fitted.coef, fitted.intercept]).T
        return _pandas().DataFrame(values, index=[*features, "(intercept)"], columns=outputs(fitted))


def open(path: str | Path) -> Run:
    """Open a run.

    Parameters
    ----------
    path : str or Path
        A result, a checkpoint, or a folder of checkpoints. If the result does not exist yet, the newest checkpoint
        of the folder of that name is opened.

    Returns
    -------
    Run
        The run, with its tables as pandas frames.

    Raises
    ------
    ValueError
        One line: the file is missing, damaged, or neither a result nor a checkpoint.

    Examples
    --------
    >>> import mpiopt
    >>> mpiopt.results.open("absent.h5")
    Traceback (most recent call last):
    ValueError: absent.h5: no such file
    """
    return Run(read_record(path))


def outputs(fitted: FittedModel) -> list[Any]:
    """Return the name of each output of a model."""
    if fitted.classes is None:
        return ["target"]
    names: list[Any] = fitted.classes.tolist()
    return names if len(fitted.coef) > 1 else names[1:]


def _frame(rows: Any, index: str = "") -> DataFrame:
    frame = _pandas().DataFrame(rows) if rows is not None else _pandas().DataFrame()
    return frame.rename_axis(index) if index else frame


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError("frames need pandas: pip install mpiopt[analysis]") from None
    return pandas
