"""`python -m benchmarks.tables`: how fast one core reads tables, beside pyarrow alone on one core, in turn.

Tables are made up: numbers alone, and half of the columns words. Shown are medians, over the turns, of megabytes of
the file in a second of processor time, and of the ratio to pyarrow in the same turn. "cells" is what the survey of a
table reads: numbers with NaN for gaps, words with a number for each level. "rows" are the encoded rows of training.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from mpiopt.comm.threads import single
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.job import DataOptions
from mpiopt.data.tables.files import table_of
from mpiopt.data.tables.source import TableSource, open_table
from mpiopt.data.tables.survey import batches_kept

COLUMNS, LEVELS, BATCH = 20, 1000, 1 << 14
GROUP = 1 << 17  # rows of a row group


def table(kind: str, rows: int) -> pa.Table:
    """Return a made-up table whose first column is the target."""
    random = np.random.default_rng(1)
    columns: dict[str, pa.Array] = {}
    for k in range(COLUMNS):
        if kind == "words" and k % 2:
            codes = random.integers(0, LEVELS, rows).astype(np.int32)
            words = pa.array([f"level {level}" for level in range(LEVELS)])
            columns[f"word{k}"] = pa.DictionaryArray.from_arrays(codes, words).cast(pa.string())
        else:
            columns[f"x{k}"] = pa.array(np.round(random.standard_normal(rows), 6))
    return pa.table(columns)


def write(folder: Path, kind: str, rows: int) -> dict[str, Path]:
    """Write a table in each format."""
    made = table(kind, rows)
    files = {form: folder / f"{kind}.{form}" for form in ("parquet", "feather", "csv")}
    pa.parquet.write_table(made, files["parquet"], row_group_size=GROUP)
    pa.feather.write_feather(made, files["feather"], chunksize=GROUP)
    pa.csv.write_csv(made, files["csv"])
    return files


def alone(path: Path) -> int:
    """Read a file with pyarrow alone, a batch at a time; return the number of rows."""
    if path.suffix == ".parquet":
        with pa.parquet.ParquetFile(path) as file:
            return sum(batch.num_rows for batch in file.iter_batches(BATCH, use_threads=False))
    if path.suffix == ".feather":
        options = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.memory_map(str(path)) as memory:
            file = pa.ipc.open_file(memory, options=options)
            return sum(file.get_batch(b).num_rows for b in range(file.num_record_batches))
    options = pa.csv.ReadOptions(use_threads=False)
    with pa.csv.open_csv(path, read_options=options) as file:
        return sum(batch.num_rows for batch in file)


def seconds(work: Callable[[], int], rows: int) -> float:
    """Return the processor time of `work`, which reads all rows."""
    began = time.process_time()
    if work() != rows:
        raise ValueError("rows are missing")
    return time.process_time() - began


def compared(path: Path, rows: int, turns: int) -> str:
    """Return a line of the table of a file."""
    options = DataOptions(columns=ColumnOptions(target="x0"))
    source = open_table(table_of(str(path)), options, "real", "", single())
    if not isinstance(source, TableSource):
        raise TypeError(path)
    kept = source.survey

    def cells() -> int:
        return sum(batch.rows for batch, _, _ in batches_kept(source.table, kept.columns, kept.starts))

    def encoded() -> int:
        return sum(len(piece) for piece in source.pieces())

    size = path.stat().st_size / 1e6
    each: list[list[float]] = [[], [], []]
    for turn in range(turns + 1):  # the first one warms up
        found = [seconds(lambda: alone(path), rows), seconds(cells, rows), seconds(encoded, rows)]
        for into, one in zip(each, found, strict=True):
            if turn:
                into.append(one)
    ratio = [statistics.median(a / b for a, b in zip(each[0], one, strict=True)) for one in each[1:]]
    speed = [size / statistics.median(one) for one in each]
    measured = f"{speed[0]:.0f} | {speed[1]:.0f} | {ratio[0]:.2f} | {speed[2]:.0f} | {ratio[1]:.2f}"
    return f"| {path.name} | {size:.0f} | {measured} |"


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=400_000)
    arguments.add_argument("--turns", type=int, default=7)
    chosen = arguments.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| file | MB | pyarrow, MB/s | cells, MB/s | ratio | rows, MB/s | ratio |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("numbers", "words"):
            for path in write(Path(folder), kind, chosen.rows).values():
                print(compared(path, chosen.rows, chosen.turns), flush=True)


if __name__ == "__main__":
    main()
