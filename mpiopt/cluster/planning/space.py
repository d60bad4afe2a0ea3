"""The memory of a rank and the size of a checkpoint."""

from __future__ import annotations

from typing import NamedTuple

from mpiopt.cluster.planning.probe import MemoryNeeds
from mpiopt.cluster.planning.sample import Sample
from mpiopt.core.config.job import DataOptions
from mpiopt.core.state import Layout
from mpiopt.data.redistribute import BANDS, BANDS_OF_FILE
from mpiopt.data.shard import CsrRows, Shard

READ_BESIDE = 32  # bytes a row while it is read: label, weight, order and position, 8 each
KEPT_BESIDE = 24  # bytes a row in memory: label, weight and order, 8 each
SAVING = 16  # bytes a row while a checkpoint is written: the inverse of the order
SAVING_FIXED = 4 << 20  # bytes of the buffer of a checkpoint


class Space(NamedTuple):
    """Bytes of one rank; `peak` is the largest need of a phase, with the program itself."""

    program: float  # with the pieces in which rows are read, and the compiler of the kernels
    rows: float
    labels: float
    work: float  # table, model, buffers of the algorithm
    loading: float  # beside the rows, while they are read
    saving: float
    peak: float


def of_rank(sample: Sample, options: DataOptions, needs: MemoryNeeds, program: float, ranks: int) -> Space:
    """Return the memory of the rank with the most rows."""
    n = sample.rows_of_rank(ranks)
    shard = sample.data.shard
    rows, labels = n * row_bytes(shard), float(KEPT_BESIDE * n)
    work = needs.fixed + needs.row * n
    loading = READ_BESIDE * n + rows * (arriving(shard, options) - 1.0)
    if options.stream:  # one band of the rows is in memory as it came, the others are in the file
        loading, rows = READ_BESIDE * n + rows / BANDS_OF_FILE, 0.0
    peak = program + rows + max(labels + max(work, SAVING * n), loading)
    return Space(program, rows, labels, work, loading, SAVING * n + SAVING_FIXED, peak)


def row_bytes(shard: Shard) -> float:
    """Return the mean bytes of a row in memory."""
    return shard.rows.nbytes / max(1, len(shard))


def arriving(shard: Shard, options: DataOptions) -> float:
    """Return the memory of rows while they are read, as a multiple of their memory afterwards.

    Sparse rows arrive in bands, one of which is in memory twice. Scaled and centred rows are float64 until then.
    """
    if options.float32 and (options.scale != "none" or options.coordinates != "file"):
        return 2.0
    return 1.0 + 1.0 / BANDS if isinstance(shard.rows, CsrRows) else 1.0


def checkpoint(stored: dict[Layout, float], sample: Sample, ranks: int) -> float:
    """Return the bytes of a checkpoint: replicated fields once, sharded ones for each row, others for each rank."""
    return stored[Layout.REPLICATED] + stored[Layout.SHARDED] * sample.rows + stored[Layout.PER_RANK] * ranks
