"""The real sets of ../shared/data as rows and labels for benchmarks; of tables, the columns of numbers alone.

A coin, a bit of the SHA-256 of the name, put each set into the tuned or the judged half (`benchmarks.auto.half`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.auto import MORE, ROOT, read
from benchmarks.tightness import SETS

FILES = {
    kind: [*SETS[kind], *MORE.get(kind, [])] for kind in SETS
}  # that mpiopt reads; by the kind of labels, as the keys of `model_classes.LOSSES`
FILES["multiclass"] = [
    *FILES["multiclass"],
    *("coil20/coil20.bz2", "covtype20k/covtype20k.gz", "leaves_shape/leaves_shape.gz", "letter/letter"),
    *("ohsumed/ohsumed.bz2", "usps/usps.t.bz2"),
]


class Table(NamedTuple):
    """A table: its file, kind and target, and how its columns become numbers."""

    file: str
    kind: str
    target: str
    left_out: tuple[str, ...] = ()  # columns of numbers that are identifiers, weights, exposures, or tell the target
    positive: str = ""  # the label of the second class; "": the target is a number
    read: dict[str, Any] | None = None  # how pandas reads it, where its defaults do not fit
    levels: tuple[str, ...] = ()  # columns that become a 0/1 column for each level: sparse rows


TABLES = (
    Table("adult/adult.data.gz", "binary", "14", ("2",), ">50K", {"header": None, "skipinitialspace": True}),
    Table(
        "airlines/allyears2k_headers.csv.gz",
        "binary",
        "IsArrDelayed",
        ("ArrDelay", "DepDelay", "Cancelled", "Diverted"),
        "YES",
        {"encoding": "latin-1"},
    ),
    Table("avazu/avazu.csv.gz", "binary", "click", ("id", "hour"), "1"),
    Table(
        "default_credit/default_credit.csv.gz",
        "binary",
        "default payment next month",
        ("ID",),
        "1",
        {"header": 1, "lineterminator": "\r"},
    ),
    Table("kdd99/kddcup.data_10_percent.gz", "binary", "41", (), "normal.", {"header": None}),
    Table("insteval/InstEval.csv.gz", "real", "y", levels=("s", "d", "studage", "lectage", "service", "dept")),
    Table("pm25/pollution.csv.gz", "real", "pm2.5", ("No",)),
    Table("star98/star98.csv", "real", "PR50M", ("MATHTOT",)),
    Table("bikeshare/bike.csv.gz", "count", "cnt", ("instant", "casual", "registered")),
    Table("fremtpl2freq/freMTPL2freq.csv.gz", "count", "ClaimNb", ("IDpol", "Exposure")),
    Table("msha/usMSHA1316.csv.gz", "count", "NUM_INJURIES", ("EMP_HRS_TOTAL",)),
    Table("nmes1988/NMES1988.csv", "count", "visits"),
    Table("swautoins/swautoins.csv", "count", "Claims", ("Insured", "Payment")),
)


def every_real_set(kind: str, numbers: float) -> Iterator[tuple[str, Callable[[], tuple[Any, Any] | None]]]:
    """Yield the name of each set with such labels, and a function that reads rows and labels; None without a file."""
    for file in FILES[kind]:

        def of_file(file: str = file) -> tuple[Any, Any] | None:
            data = read(file, kind, numbers)
            return None if data is None else (data.x, data.y)

        yield file.partition("/")[0], of_file
    for table in TABLES:
        if table.kind == kind:
            yield table.file.partition("/")[0], lambda table=table: read_table(table, numbers)


def read_table(table: Table, numbers: float) -> tuple[Any, Any] | None:
    """Return rows and labels of a table without the columns that lack entries and the rows without a target."""
    import pandas

    path = Path(ROOT) / table.file
    if not path.exists():
        return None
    frame = pandas.read_csv(path, low_memory=False, **(table.read or {}))
    frame.columns = [str(name) for name in frame.columns]
    frame = frame[frame[table.target].notna()]
    target = frame.pop(table.target)
    y = (
        target.to_numpy(np.float64)
        if not table.positive
        else np.where(target.astype(str) == table.positive, 1.0, -1.0)
    )
    if table.levels:
        from scipy import sparse

        codes = [frame[name].astype("category").cat.codes.to_numpy() for name in table.levels]
        parts = [sparse.csr_matrix((np.ones(len(y)), (np.arange(len(y)), code))) for code in codes]
        x = sparse.hstack(parts, "csr")
        stored = x.nnz
    else:
        kept = frame.select_dtypes("number").drop(columns=list(table.left_out), errors="ignore")
        x = kept.loc[:, kept.notna().all() & (kept.nunique() > 1)].to_numpy(np.float64)
        stored = x.size
    chosen = np.arange(0, len(y), max(1, int(np.ceil(stored / numbers))))
    return x[chosen], y[chosen]
