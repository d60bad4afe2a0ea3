"""`python -m benchmarks.stream --gb 4 --folder DIR`: work on rows that lie in a file (`--stream`), beside the disk.

The rows are thrown out of memory before each repetition, so that each is read from the disk. The disk's own speed is
that of reading a file of the same size in the same folder, in turns with the work.
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

from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.read_ahead import stretch_of
from mpiopt.data.row_storage import FileMapping, owner_of
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.kernels.permutations import in_stretches
from mpiopt.objective import passes
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

PAGE_OUT = 21  # MADV_PAGEOUT of Linux, which the module mmap does not name
REPEATS = 3
COLUMNS = 100
STEP = 1e-4  # of SAGA; its size does not matter here
BUFFER = 8 << 20  # bytes
GOAL = 0.5  # of the disk's speed


def memories(shard: Shard) -> list[FileMapping]:
    """Return the files in which the rows lie."""
    rows = shard.rows
    arrays = [rows.values] if isinstance(rows, DenseRows) else [rows.indices, rows.values]
    return [memory for memory in map(owner_of, arrays) if isinstance(memory, FileMapping)]


def from_disk() -> float:
    """Return the bytes that this process has read from a disk."""
    return float(Path("/proc/self/io").read_text().split("\nread_bytes: ")[1].split()[0])


def timed(shard: Shard, work: Callable[[], object]) -> tuple[float, float, float]:
    """Return seconds, seconds of the processor and bytes from the disk of work on rows that are not in memory."""
    for memory in memories(shard):
        memory.flush()
        memory.madvise(PAGE_OUT)
    began, processor, before = time.perf_counter(), time.process_time(), from_disk()
    work()
    return time.perf_counter() - began, time.process_time() - processor, from_disk() - before


def read_all(file: int, buffer: bytearray) -> None:
    """Read a file that is not in memory."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(file, 0, os.SEEK_SET)
    while os.readv(file, [buffer]):
        pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.stream", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gb", type=float, default=4.0)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    n = int(options.gb * 1e9 / (8 * (COLUMNS + 4) / (2 if options.float32 else 1)))
    data = DataOptions(stream=options.folder, float32=options.float32, shards="contiguous")
    began = time.perf_counter()
    shard = prepare(f"generate:n={n},d={COLUMNS},task=binary", "binary", data, 0, single()).shard
    took = time.perf_counter() - began
    objective = Objective(Loss.make("logistic"), Penalty.make("ridge", {"l2": 1 / n}), shard)
    w, table, ones = objective.zeros(), np.zeros((n, 1)), np.ones(objective.width)
    starts = in_stretches(n, 8, stretch_of(shard.rows, 8), 0)
    call = SagaCall(starts, STEP * ones, len(starts) / n, 1 / n)
    plain, buffer = tempfile.TemporaryFile(dir=options.folder), bytearray(BUFFER)  # noqa: SIM115
    for memory in memories(shard):
        plain.write(memory)
    plain.flush()
    os.fsync(plain.fileno())
    works: dict[str, Callable[[], object]] = {
        "reading alone": lambda: read_all(plain.fileno(), buffer),
        "value and gradient": lambda: _pass(objective, w, table),
        "curvature matrix (Newton)": lambda: passes.gram(shard.rows, np.ones(n)),
        "an epoch of SAGA": lambda: local_steps(objective, call, w.copy(), w.copy(), table),
    }
    print(f"{shard.rows.nbytes / 1e9:.3g} GB of rows, made and written in {took:.3g} s; {os.cpu_count()} processors")
    print("| work | GB from the disk | GB/s | part of reading alone | GB for each second of the processor |")
    print("|---|" + "---|" * 4)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            found[name].append(timed(shard, work))
    gigabytes = shard.rows.nbytes / 1e9
    alone = statistics.median(seconds for seconds, _, _ in found["reading alone"])
    for name, times in found.items():
        seconds, processor, nbytes = (statistics.median(kind) for kind in zip(*times, strict=True))
        print(
            f"| {name} | {nbytes / 1e9:.3g} | {gigabytes / seconds:.3g} | {alone / seconds:.2f} | "
            f"{gigabytes / processor:.3g} |"
        )
    print(f"goal: at least {GOAL:g} of reading alone")


def _pass(objective: Objective, w: np.ndarray, table: np.ndarray) -> object:
    shard = objective.shard
    return passes.value_and_gradient(shard.rows, shard.label, shard.weight, objective.loss, w, table)


if __name__ == "__main__":
    main()
