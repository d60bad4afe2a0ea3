"""A model as scikit-learn's own estimator: what it would predict, this one predicts.

`mpiopt export RUN.h5 OUT`: a run's tables as CSV or Parquet, its model for scikit-learn or as ONNX.
"""

from __future__ import annotations

import csv
import io
import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job_file import read
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.files import refuse_onto, write_whole
from mpiopt.core.history import Event
from mpiopt.resilience.signals import StopSignal
from mpiopt.results import frames
from mpiopt.results.model import FittedModel, class_names
from mpiopt.results.run_record import RunRecord, read_record


def estimator(record: RunRecord) -> Any:
    """Give the estimator with `coef_` and `intercept_`, after a Normalizer where rows were scaled to length one.

    Raises
    ------
    ValueError
        Where the run has no model yet.
    """
    model = model_of(record)
    loss = str(record.provenance["loss"])
    coef, intercept = for_two(model) if model.classes is not None else (model.coef[0], model.intercept[0])
    found = blank(loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the few rows of zeros that give the estimator its shapes
        if model.classes is not None:
            names = class_names(model.classes)
            found.fit(blank_rows(record, len(names)), names)
        else:
            found.fit(blank_rows(record, 2), np.ones(2))
    found.coef_, found.intercept_ = coef, intercept
    if read(record.job).data.scale == "unit-rows":
        return normalised(found, blank_rows(record, 2))
    return found


def blank(loss: str) -> Any:
    """Give the estimator whose predictions are those of a loss."""
    from sklearn import linear_model, svm

    chosen = parse_spec(loss)
    kinds = {
        "logistic": linear_model.LogisticRegression,
        "softmax": linear_model.LogisticRegression,
        "squared-hinge": svm.LinearSVC,
        "squared": linear_model.Ridge,
        "huber": linear_model.HuberRegressor,
        "poisson": linear_model.PoissonRegressor,
    }
    if chosen.name not in kinds:
        raise ValueError(f"scikit-learn has no linear model for the loss {chosen.name}")
    return kinds[chosen.name]()


def for_two(model: FittedModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give coefficients and constants; of two classes with one vector each the difference, as scikit-learn has it."""
    if model.coef.shape[0] == 2:
        return model.coef[1:] - model.coef[:1], model.intercept[1:] - model.intercept[:1]
    return model.coef, model.intercept


def model_of(record: RunRecord) -> FittedModel:
    """Give the model; ValueError where the run has not ended."""
    if record.model is None:
        raise ValueError(f"{record.path}: the run has not ended, there is no model yet")
    return record.model


def blank_rows(record: RunRecord, count: int = 1) -> NDArray[np.float64]:
    """Give rows of zeros with as many columns as the model has."""
    return np.zeros((count, model_of(record).coef.shape[1]))


def normalised(model: Any, rows: NDArray[np.float64]) -> Any:
    """Put a Normalizer before a model."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    return make_pipeline(Normalizer().fit(rows), model)


USAGE = "export RUN.h5 OUT [--to csv|parquet|sklearn|onnx] [--table history|traffic|time|events]"
SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pkl": "sklearn", ".joblib": "sklearn", ".onnx": "onnx"}
TABLES = ("history", "traffic", "time", "events")


def export(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write what is asked for; without --to the suffix of OUT says what that is."""
    paths, settings = parse(words, {"to": True, "table": True})
    chosen = dict(settings)
    if len(paths) != 2:
        raise ValueError(f"export needs a run and a file to write: {USAGE}")
    source, out = paths
    kind = chosen.get("to", SUFFIXES.get(Path(out).suffix, ""))
    if kind not in KINDS:
        told = f"--to {kind!r}{nearest(kind, KINDS)}" if kind else f"{out}: the suffix does not say what to write"
        raise ValueError(f"{told}; known: {', '.join(KINDS)}")
    table = chosen.get("table", "history")
    if table not in TABLES:
        raise ValueError(f"--table {table!r}{nearest(table, TABLES)}; known: {', '.join(TABLES)}")
    refuse_onto(out, source)
    with comm.agree_on_errors():
        if comm.rank == 0:
            write_whole(Path(out), image(source, kind, table))
    if comm.rank == 0:
        print(f"written: {out}")
    return 0


def image(source: str, kind: str, table: str) -> bytes:
    """Give the bytes of the file.

    Raises
    ------
    ValueError
        In one line: no such run, a package that is missing, a model that there is no form for.
    """
    try:
        return KINDS[kind](read_record(source), table)
    except ImportError as error:
        raise ValueError(f"export to {kind} needs a package: {error}; pip install mpiopt[export]") from None


def as_csv(record: RunRecord, table: str) -> bytes:
    """Give a table of the run as text; numbers keep all their digits."""
    heads, rows = rows_of(record, table)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heads, *rows])
    return out.getvalue().encode()


def rows_of(record: RunRecord, table: str) -> tuple[list[str], list[Any]]:
    """Give the names of the columns, and the rows."""
    if table == "events":
        return list(Event._fields), list(record.events)
    found = getattr(record, table)
    if found is None:
        raise ValueError(f"{record.path}: there is no table {table} in it")
    return list(found.dtype.names), found.tolist()


def as_parquet(record: RunRecord, table: str) -> bytes:
    """Give a table of the run for data frames."""
    rows_of(record, table)
    out = io.BytesIO()
    getattr(frames.Run(record), table).to_parquet(out)
    return out.getvalue()


def as_sklearn(record: RunRecord, table: str) -> bytes:
    """Give a pickle of scikit-learn's own estimator; `joblib.load` reads it as well as `pickle.load`."""
    return pickle.dumps(estimator(record), protocol=5)


def as_onnx(record: RunRecord, table: str) -> bytes:
    """Give the model as ONNX: float32 rows in; labels and probabilities, or targets, out."""
    from skl2onnx import to_onnx

    model = estimator(record)
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    return bytes(to_onnx(model, blank_rows(record).astype("float32"), options=options).SerializeToString())


KINDS: dict[str, Callable[[RunRecord, str], bytes]] = {
    "csv": as_csv,
    "parquet": as_parquet,
    "sklearn": as_sklearn,
    "onnx": as_onnx,
}
