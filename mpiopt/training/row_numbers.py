"""Which row of its file each row of a rank is, and what a file or a column says of the rows in that order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.core.config.job import Job
from mpiopt.core.files import cause
from mpiopt.core.partition import block
from mpiopt.data.dataset import open_rows
from mpiopt.data.row_order import contiguous, round_robin, shuffled
from mpiopt.data.shard import Shard
from mpiopt.data.tables.arrow import TEXT
from mpiopt.data.tables.files import table_of
from mpiopt.data.tables.source import open_files
from mpiopt.objective.objective import Objective
from mpiopt.training.problem import link_of, target_of

Numbers = NDArray[np.int64]


def numbers_in_file(job: Job, shard: Shard, flag: str) -> Numbers:
    """Return the number in the data file of each row of this rank, from 0; local.

    Raises
    ------
    ValueError
        If the numbers are not known, because of a hold-out, or of rows that were sorted or left out.
    """
    orders = {
        "shuffled": lambda total: shuffled(total, job.seed),
        "contiguous": lambda total: contiguous,
        "round-robin": round_robin,
    }
    if job.data.shards not in orders or job.data.holdout:
        raise ValueError(f"--{flag} takes rows without a hold-out and not sorted by label")
    if any(rule.rpartition("=")[2] == "drop" for rule in job.data.columns.gaps):
        raise ValueError(f"--{flag} takes no rows that are left out; set --gaps to another rule than drop")
    position = orders[job.data.shards](shard.total)(np.arange(shard.total, dtype=np.int64))
    row_at = np.empty(shard.total, np.int64)
    row_at[position] = np.arange(shard.total)
    return row_at[shard.start + shard.order]


def lines_of(path: str, flag: str) -> NDArray[np.str_]:
    """Return the lines of a file; local; ValueError if it cannot be read."""
    try:
        lines = np.array(Path(path).read_text().split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not text" if isinstance(error, UnicodeDecodeError) else cause(error).lower()
        raise ValueError(f"--{flag} {path}: cannot be read: {why}") from None
    return lines[:-1] if lines[-1] == "" else lines


def refuse_length(path: str, lines: NDArray[np.str_], total: int) -> None:
    """Raise ValueError unless there is a line for each row."""
    if len(lines) != total:
        raise ValueError(f"{path}: has {len(lines)} lines; the data have {total} rows")


def column_of(job: Job, title: str, flag: str, comm: Comm) -> NDArray[np.str_]:
    """Return a column of a table as text, all its rows in the order of the table; collective."""
    table = open_files(table_of(job.path), job.data.format, job.data.columns.titles, comm)
    kind = table.kinds.get(title)
    if kind is None:
        raise ValueError(f"--{flag} {title}: neither a file nor a column of {job.path}: {', '.join(table.kinds)}")
    kind = TEXT if table.guessed else kind
    mine: list[tuple[int, list[str]]] = []
    with comm.agree_on_errors():
        for batch in table.batches({title: kind}):
            mine.append((batch.start, [str(cell) for cell in batch.cells[title].to_pylist()]))
    every = sorted((tuple(part) for parts in allgather_json(comm, mine) for part in parts), key=lambda part: part[0])
    return np.array([cell for _, cells in every for cell in cells])


def offsets_in_file(job: Job, objective: Objective, comm: Comm) -> NDArray[np.float64] | None:
    """Return the offsets of this rank's part of the rows in the order of the file, read again; collective.

    None for a file without offsets and exposures. Rows with offsets that the loss has taken out of the problem do not
    have them in memory.
    """
    source = open_rows(job.path, target_of(job.model), job.data, comm, link_of(job.model))
    starts, pieces = [np.zeros(0, np.int64)], [np.zeros(0)]
    with comm.agree_on_errors():
        for piece in source.pieces():
            if piece.offset is not None:
                starts.append(piece.start + np.arange(len(piece)))
                pieces.append(piece.offset.copy())
    numbers, found = np.concatenate(starts), np.concatenate(pieces)
    if not comm.max(np.array([float(len(found))]))[0]:
        return None
    return in_file_order(numbers, found[:, None], objective.shard.total, comm)[:, 0]


def in_file_order(numbers: Numbers, values: NDArray[np.float64], total: int, comm: Comm) -> NDArray[np.float64]:
    """Send the values (n, c) of rows to the ranks in the order of the file; return this rank's part; collective."""
    order = np.argsort(numbers, kind="stable")
    numbers, values = numbers[order], values[order]
    ends = np.searchsorted(numbers, [block(total, comm.size, rank)[1] for rank in range(comm.size - 1)])
    received = np.concatenate(comm.alltoall(np.split(numbers, ends)))
    parts = np.concatenate(comm.alltoall([part.reshape(-1) for part in np.split(values, ends)]))
    return parts.reshape(len(received), values.shape[1])[np.argsort(received, kind="stable")]
