"""The memory of a rank and the size of a checkpoint."""

from __future__ import annotations

from typing import NamedTuple

from mpiopt.cluster.planning.probe import Needs
from mpiopt.cluster.planning.sample import Sample
from mpiopt.core.config.job import DataOptions
from mpiopt.core.state import Layout
from mpiopt.data.redistribute import BANDS
from mpiopt.data.shard import CsrRows, Shard

LABELS = 32  # bytes a row of what is read beside it: label, weight, order, and where it lies
SAVING = 16  # bytes a row while a checkpoint is written: the inverse of the order


class Space(NamedTuple):
    """Bytes of one rank; `peak` is the largest that a phase needs together with the program itself."""

    program: float  # with the pieces in which rows are read, and what compiles the kernels
    rows: float
    labels: float
    work: float  # table, model, buffers of the algorithm
    loading: float  # beside the rows, while they are read
    saving: float
    peak: float


def of_rank(sample: Sample, options: DataOptions, needs: Needs, program: float, ranks: int) -> Space:
    """Give the memory of the rank with the most rows."""
    n = sample.rows_of_rank(ranks)
    shard = sample.data.shard
    rows, labels = n * row_bytes(shard), 24.0 * n
    work = needs.fixed + needs.row * n
    loading = LABELS * n + rows * (arriving(shard, options) - 1.0)
    peak = program + rows + max(labels + max(work, SAVING * n), loading)
    return Space(program, rows, labels, work, loading, SAVING * n + (4 << 20), peak)


def row_bytes(shard: Shard) -> float:
    """Give the bytes that a row takes in memory, on average."""
    return shard.rows.nbytes / max(1, len(shard))


def arriving(shard: Shard, options: DataOptions) -> float:
    """Give the memory that rows take while they are read, against that when they are there.

    Sparse rows come in bands, one of which lies in memory twice; scaled rows are held in float64 until then.
    """
    twice = 1.0 + 1.0 / BANDS if isinstance(shard.rows, CsrRows) else 1.0
    wide = options.float32 and options.scale != "none"
    if not wide:
        return twice
    return 2.0


def checkpoint(stored: dict[Layout, float], sample: Sample, ranks: int) -> float:
    """Give the bytes of a checkpoint: replicated fields once, a table for every row, what a rank keeps for itself."""
    return stored[Layout.REPLICATED] + stored[Layout.SHARDED] * sample.rows + stored[Layout.PER_RANK] * ranks
