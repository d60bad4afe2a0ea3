"""Runs as pandas frames: `mpiopt.results.frames.open("run.h5").history`. Needs `pip install mpiopt[analysis]`."""

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
    """A run; each property makes a new frame."""

    record: RunRecord

    def __repr__(self) -> str:
        end = "finished" if self.finished else "not finished"
        return f"<mpiopt run {self.record.path}: {end}, {len(self.record.history)} evaluations>"

    @property
    def finished(self) -> bool:
        """Whether the run has ended; else what follows is that of its newest checkpoint."""
        return self.record.finished

    @property
    def history(self) -> DataFrame:
        """A row for each evaluation: round, epoch, seconds, bytes_sent, objective, certificate …"""
        return _frame(self.record.history)

    @property
    def traffic(self) -> DataFrame:
        """A row for each rank: bytes and messages of the run's last life; empty where it has not ended."""
        return _frame(self.record.traffic, "rank")

    @property
    def time(self) -> DataFrame:
        """A row for each rank: seconds in each phase of the run's last life; empty where it has not ended."""
        return _frame(self.record.time, "rank")

    @property
    def events(self) -> DataFrame:
        """A row for each event: seconds, round, kind, rank (-1: all), text."""
        return _pandas().DataFrame(self.record.events, columns=list(Event._fields))

    @property
    def provenance(self) -> Series[Any]:
        """Where the run comes from, by name."""
        return _pandas().Series(self.record.provenance, dtype=object, name="provenance")

    @property
    def settings(self) -> Series[Any]:
        """The job's keys, `table.key`."""
        return _pandas().Series(self.record.settings, dtype=object, name="settings")

    @property
    def job(self) -> str:
        """The job as TOML."""
        return self.record.job

    @property
    def test(self) -> Series[Any]:
        """Metrics of the test rows; empty where there were none."""
        return _pandas().Series(self.record.test, dtype=float, name="test")

    @property
    def model(self) -> DataFrame:
        """A row for each feature and one, `(intercept)`, for the constants; a column for each output.

        Columns are classes; with two classes the one column is that of the class that positive margins mean.

        Raises
        ------
        ValueError
            Where the run has not ended.
        """
        fitted = self.record.model
        if fitted is None:
            raise ValueError(f"{self.record.path}: the run has not ended, there is no model yet")
        features = fitted.feature_names or [f"x{i}" for i in range(fitted.coef.shape[1])]
        values = np.column_stack([fitted.coef, fitted.intercept]).T
        return _pandas().DataFrame(values, index=[*features, "(intercept)"], columns=outputs(fitted))


def open(path: str | Path) -> Run:
    """Open a result, a checkpoint, or the result's name where the run has only checkpoints so far.

    Raises
    ------
    ValueError
        In one line: nothing there, a file of another kind, damaged.
    """
    return Run(read_record(path))


def outputs(fitted: FittedModel) -> list[Any]:
    """Give the name of each output of a model."""
    if fitted.classes is None:
        return ["target"]
    classes: list[Any] = fitted.classes.tolist()
    return classes if len(fitted.coef) > 1 else classes[1:]


def _frame(rows: Any, index: str = "") -> DataFrame:
    frame = _pandas().DataFrame(rows) if rows is not None else _pandas().DataFrame()
    return frame.rename_axis(index) if index else frame


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError("frames need pandas: pip install mpiopt[analysis]") from None
    return pandas
