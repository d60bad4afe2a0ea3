"""`mpiopt export RUN.h5 OUT`: a run's tables as CSV or Parquet, its model for scikit-learn or as ONNX."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mpiopt import results
from mpiopt.comm import Comm
from mpiopt.datasets import together
from mpiopt.events import Event
from mpiopt.flags import parse
from mpiopt.overwriting import refuse_onto, write_whole
from mpiopt.plugin import nearest
from mpiopt.record import Record, read_record
from mpiopt.signals import Stop

USAGE = "export RUN.h5 OUT [--to csv|parquet|sklearn|onnx] [--table history|traffic|time|events]"
SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pkl": "sklearn", ".joblib": "sklearn", ".onnx": "onnx"}
TABLES = ("history", "traffic", "time", "events")


def export(words: Sequence[str], comm: Comm, stop: Stop) -> int:
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
    together(comm, lambda: write_whole(Path(out), image(source, kind, table)) if comm.rank == 0 else None)
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


def as_csv(record: Record, table: str) -> bytes:
    """Give a table of the run as text; numbers keep all their digits."""
    heads, rows = rows_of(record, table)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heads, *rows])
    return out.getvalue().encode()


def rows_of(record: Record, table: str) -> tuple[list[str], list[Any]]:
    """Give the names of the columns, and the rows."""
    if table == "events":
        return list(Event._fields), list(record.events)
    found = getattr(record, table)
    if found is None:
        raise ValueError(f"{record.path}: there is no table {table} in it")
    return list(found.dtype.names), found.tolist()


def as_parquet(record: Record, table: str) -> bytes:
    """Give a table of the run for data frames."""
    rows_of(record, table)
    out = io.BytesIO()
    getattr(results.Run(record), table).to_parquet(out)
    return out.getvalue()


def as_sklearn(record: Record, table: str) -> bytes:
    """Give a pickle of scikit-learn's own estimator; `joblib.load` reads it as well as `pickle.load`."""
    from mpiopt.sklearn_model import estimator

    return pickle.dumps(estimator(record), protocol=5)


def as_onnx(record: Record, table: str) -> bytes:
    """Give the model as ONNX: float32 rows in; labels and probabilities, or targets, out."""
    from skl2onnx import to_onnx

    from mpiopt.sklearn_model import blank_rows, estimator

    model = estimator(record)
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    return bytes(to_onnx(model, blank_rows(record).astype("float32"), options=options).SerializeToString())


KINDS: dict[str, Callable[[Record, str], bytes]] = {
    "csv": as_csv,
    "parquet": as_parquet,
    "sklearn": as_sklearn,
    "onnx": as_onnx,
}
