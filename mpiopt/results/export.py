"""`mpiopt export RUN.h5 OUT`: a run's tables, its model, its trace, its course for TensorBoard or MLflow."""

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
from mpiopt.comm.collective_io import print_on_root, run_on_root, text_from_root
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job_file import read
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.files import mark_output, refuse_existing, refuse_onto, write_whole
from mpiopt.core.history import Event
from mpiopt.resilience.signals import StopSignal
from mpiopt.results import frames
from mpiopt.results.model import FittedModel, class_names
from mpiopt.results.run_record import RunRecord, read_record, with_history
from mpiopt.results.trace import as_trace
from mpiopt.results.trackers import TRACKERS

USAGE = "export RUN.h5 OUT [--to csv|parquet|sklearn|onnx|trace|tensorboard|mlflow] [--table NAME] [--overwrite]"
SUFFIXES = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pkl": "sklearn",
    ".joblib": "sklearn",
    ".onnx": "onnx",
    ".json": "trace",
}
TABLES = ("history", "traffic", "time", "phases", "events", "model")


def export(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write the file; without --to its suffix decides about its content. Return the exit code."""
    paths, settings = parse(words, {"to": True, "table": True, "trace": False, "overwrite": False})
    chosen = dict(settings)
    if "trace" in chosen:
        if chosen.setdefault("to", "trace") != "trace":
            raise ValueError(f"--trace and --to {chosen['to']} are two kinds of files; give one of them")
        paths = [*paths, str(Path(paths[0]).with_suffix(".trace.json"))] if len(paths) == 1 else paths
    if len(paths) != 2:
        raise ValueError(f"export needs a run and a file to write: mpiopt {USAGE}")
    source, out = paths
    kind = chosen.get("to", SUFFIXES.get(Path(out).suffix, ""))
    known = (*KINDS, *TRACKERS)
    if kind not in known:
        wrong = f"--to {kind!r}{nearest(kind, known)}" if kind else f"{out}: unknown suffix; choose a kind with --to"
        raise ValueError(f"{wrong}; known: {', '.join(known)}")
    table = chosen.get("table", "history")
    if table not in TABLES:
        raise ValueError(f"--table {table!r}{nearest(table, TABLES)}; known: {', '.join(TABLES)}")
    if kind in TRACKERS:
        print_on_root(comm, f"written: {text_from_root(comm, lambda: track(source, out, kind))}")
        return 0
    refuse_onto(out, source)

    def write() -> None:
        refuse_existing(out, "overwrite" in chosen, "export")
        write_whole(Path(out), image(source, kind, table))
        mark_output(Path(out), "export")

    run_on_root(comm, write)
    print_on_root(comm, f"written: {out}")
    return 0


def image(source: str, kind: str, table: str) -> bytes:
    """Return the content of the file.

    Raises
    ------
    ValueError
        One line: there is no such run, a package is missing, or the model cannot be written in this form.
    """
    try:
        return KINDS[kind](read_record(source), table)
    except ImportError as error:
        raise ValueError(f"export to {kind} needs a package: {error}; pip install mpiopt[export]") from None


def track(source: str, out: str, kind: str) -> str:
    """Add the run to a tracker's folder or server; return where it is. ValueError, one line, as in `image`."""
    try:
        return TRACKERS[kind](with_history(source), out)
    except ImportError as error:
        raise ValueError(f"export to {kind} needs a package: {error}; pip install mpiopt[{kind}]") from None


def as_csv(record: RunRecord, table: str) -> bytes:
    """Return a table of the run as text; numbers keep all their digits."""
    heads, rows = rows_of(record, table)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heads, *rows])
    return out.getvalue().encode()


def rows_of(record: RunRecord, table: str) -> tuple[list[str], list[Any]]:
    """Return the names of the columns, and the rows."""
    if table == "events":
        return list(Event._fields), list(record.events)
    if table == "model":
        return coefficients(record.finished_model)
    found = getattr(record, table)
    if found is None:
        raise ValueError(f"{record.path}: there is no table {table} in it")
    return list(found.dtype.names), found.tolist()


def coefficients(model: FittedModel) -> tuple[list[str], list[Any]]:
    """Return a row for each feature, and a last row `(intercept)`; a column for each output."""
    outputs = [""] if model.classes is None else class_names(model.classes).tolist()
    names = model.feature_names or [f"x{j + 1}" for j in range(model.coef.shape[1])]
    values = np.column_stack([model.coef, model.intercept]).T.tolist()
    heads = outputs[-len(model.coef) :] if len(outputs) > 1 else ["coefficient"]
    return ["feature", *heads], [[name, *row] for name, row in zip([*names, "(intercept)"], values, strict=True)]


def as_parquet(record: RunRecord, table: str) -> bytes:
    """Return a table of the run as Parquet."""
    rows_of(record, table)  # refuses a table that is not there
    out = io.BytesIO()
    getattr(frames.Run(record), table).to_parquet(out)
    return out.getvalue()


def as_sklearn(record: RunRecord, table: str) -> bytes:
    """Return a pickle of a scikit-learn estimator; both `joblib.load` and `pickle.load` read it."""
    return pickle.dumps(estimator(record), protocol=5)


def as_onnx(record: RunRecord, table: str) -> bytes:
    """Return the model as ONNX: from float32 rows to labels and probabilities, or to targets."""
    from skl2onnx import to_onnx

    model, rows = estimator(record), np.zeros((1, record.finished_model.coef.shape[1]), np.float32)
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    return bytes(to_onnx(model, rows, options=options).SerializeToString())


KINDS: dict[str, Callable[[RunRecord, str], bytes]] = {
    "csv": as_csv,
    "parquet": as_parquet,
    "sklearn": as_sklearn,
    "onnx": as_onnx,
    "trace": as_trace,
}


def estimator(record: RunRecord) -> Any:
    """Return scikit-learn's estimator with the coefficients of the run, which predicts what mpiopt predicts.

    A Normalizer stands before it if the rows were scaled to length one.

    Raises
    ------
    ValueError
        If the run has not ended, or scikit-learn has no linear model for the loss.
    """
    model = record.finished_model
    coef, intercept = for_two(model) if model.classes is not None else (model.coef[0], model.intercept[0])
    names = np.ones(2) if model.classes is None else class_names(model.classes)
    zeros = np.zeros((len(names), model.coef.shape[1]))
    found = unfitted(str(record.provenance["loss"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the few rows of zeros that set the shapes of the estimator
        found.fit(zeros, names)
    found.coef_, found.intercept_ = coef, intercept
    return normalised(found, zeros) if read(record.job).data.scale == "unit-rows" else found


def unfitted(loss: str) -> Any:
    """Return the estimator that predicts from margins as this loss does."""
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
    """Return coefficients and constants; of two outputs the difference, as scikit-learn has it for two classes."""
    if model.coef.shape[0] == 2:
        return model.coef[1:] - model.coef[:1], model.intercept[1:] - model.intercept[:1]
    return model.coef, model.intercept


def normalised(model: Any, rows: NDArray[np.float64]) -> Any:
    """Return a pipeline of a Normalizer and a model."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    return make_pipeline(Normalizer().fit(rows), model)
