"""`python -m benchmarks.io`: reading shards and writing checkpoints beside plain files, in turn in one run.

Each rank writes a table into a new plain file with fsync and removes the last but one, as checkpoints do (a new file
takes longer than one that is overwritten), then as a checkpoint in each form, again and again. The ranks read a file
of rows as plain bytes and then through the reader, from the disk and from the page cache. Shown are medians of the
ratios of successive measurements (goal: 0.8). At the end follows the cost of checkpoints for a run: without, with,
and in the background.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.launching import mpirun, world
from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import Source

GOAL = 0.8  # rate / rate of plain files
KEPT = 2  # files
PIECE = 8 << 20  # bytes read at a time
FORMS = ("sharded", "parallel")


@dataclass
class TableState:
    """A state of one table; its annotation is set when mpiopt is imported."""

    table: np.ndarray


def seconds(work: Callable[[], object], comm: Comm) -> float:
    """Return the seconds that all ranks together take for `work`."""
    comm.barrier()
    begin = time.perf_counter()
    work()
    comm.barrier()
    return time.perf_counter() - begin


def plain_write(path: Path, data: np.ndarray, k: int) -> None:
    """Write bytes into a new file on the disk; the last KEPT files stay."""
    with open(f"{path}-{k}", "xb", buffering=0) as out:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), 4 << 20):
            out.write(view[start : start + (4 << 20)])
        os.fsync(out.fileno())
    Path(f"{path}-{k - KEPT}").unlink(missing_ok=True)


def plain_read(path: Path, ends: tuple[int, int]) -> int:
    """Read a range of bytes in pieces, each into a new array as a reader does; return their number."""
    start, stop = ends
    done = 0
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while done < stop - start:
            done += file.readinto(np.empty(min(PIECE, stop - start - done), np.uint8).data)
    return done


def drop_cache(path: Path, comm: Comm) -> None:
    """Remove a file from the page cache."""
    if comm.rank == 0:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    comm.barrier()


PLACES = {"from the disk": drop_cache, "from memory": lambda path, comm: None}


def read_rows(source: Source) -> int:
    """Read a rank's rows in pieces; return their number."""
    return sum(len(piece) for piece in source.pieces())


def inside(folder: Path, nbytes: int, repeats: int) -> None:
    """Measure on the ranks of MPI's world; print JSON on rank 0."""
    from mpiopt.core.partition import block
    from mpiopt.core.state import Sharded
    from mpiopt.data.formats.base import find_reader
    from mpiopt.data.shard import DenseRows, Shard
    from mpiopt.resilience.checkpoint.store import Checkpoints

    TableState.__annotations__["table"] = Sharded
    comm = world()
    total = nbytes // 8
    start, stop = block(total, comm.size, comm.rank)
    n = stop - start
    data = np.random.default_rng(comm.rank).standard_normal(n)
    shard = Shard(DenseRows(np.zeros((n, 0))), data, data, np.arange(n), start, total, 0)
    stores = {form: Checkpoints(folder / f"{form}.ckpt", comm, form) for form in FORMS}
    path, found = folder / "rows.h5", []
    for k in range(repeats):
        times = {"plain write": seconds(lambda k=k: plain_write(folder / f"plain{comm.rank}", data, k), comm)}
        for form, store in stores.items():
            times[form] = seconds(lambda store=store, k=k: store.save(k, TableState(data), shard, {"job": ""}), comm)
        size = path.stat().st_size
        ends = (size * comm.rank // comm.size, size * (comm.rank + 1) // comm.size)
        for place, before in PLACES.items():
            before(path, comm)
            times[f"plain, {place}"] = seconds(lambda ends=ends: plain_read(path, ends), comm)
            before(path, comm)
            times[f"reader, {place}"] = seconds(lambda: read_rows(find_reader(str(path)).open(str(path), comm)), comm)
        found.append(times)
    for store in stores.values():
        store.release("done")
    if comm.rank == 0:
        print(json.dumps(found))


def show(found: list[dict[str, float]], nbytes: int, size: int) -> list[str]:
    """Return the table."""
    lines = ["| what | MB/s | plain MB/s | ratio | |", "|---|---|---|---|---|"]
    pairs = [(form, "plain write", nbytes, f"checkpoint, {form}") for form in FORMS]
    pairs += [(f"reader, {place}", f"plain, {place}", size, f"HDF5 rows, {place}") for place in PLACES]
    for name, against, amount, label in pairs:
        ratio = statistics.median(times[against] / times[name] for times in found)
        rates = [1e-6 * amount / statistics.median(times[key] for times in found) for key in (name, against)]
        verdict = "reached" if ratio >= GOAL else "MISSED"
        lines.append(f"| {label} | {rates[0]:.0f} | {rates[1]:.0f} | {ratio:.2f} | {verdict} |")
    return lines


def training(folder: Path, ranks: int, n: int, repeats: int) -> list[str]:
    """Time a run without checkpoints, with them, and with them in the background, in turn."""
    ways = {"none": ("--checkpoint-every", "1000h")}
    for form in ("sharded", "background"):
        ways[form] = ("--checkpoint-every", "1rounds", "--checkpoint-form", form)
    took: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(repeats + 1):
        for way, flags in ways.items():
            words = [f"generate:n={n},d=32,task=binary", "--algorithm", "saga", "--tol", "1e-11", *flags]
            printed = mpirun(ranks, "-m", "mpiopt", "train", *words, "--out", str(folder / f"{way}.h5"))
            if repeat:
                took[way].append(float(re.findall(r"^seconds\s+(\S+)", printed, re.MULTILINE)[0]))
            shutil.rmtree(folder / f"{way}.ckpt", ignore_errors=True)
    lines = ["| checkpoint each round | seconds of the run | against none |", "|---|---|---|"]
    for way, times in took.items():
        ratio = statistics.median(t / b for t, b in zip(times, took["none"], strict=True))
        lines.append(f"| {way} | {statistics.median(times):.2f} | {ratio:.2f} |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.io", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mb", type=int, default=512, help="of a checkpoint, and of the rows")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", default=None, help="default: a temporary one")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    nbytes = options.mb << 20
    if options.inside:
        inside(Path(options.inside), nbytes, options.repeats)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        rows = str(folder / "rows.h5")
        size = ["--n", str(nbytes // 1024), "--d", "128", "--task", "binary"]
        mpirun(options.ranks, "-m", "mpiopt", "generate", rows, *size)
        words = ["--inside", name, "--mb", str(options.mb), "--repeats", str(options.repeats)]
        found = json.loads(mpirun(options.ranks, "-m", "benchmarks.io", *words).splitlines()[-1])
        print(f"{options.ranks} ranks, {options.mb} MB\n")
        print("\n".join(show(found, nbytes, os.path.getsize(rows))), flush=True)
        print("\n" + "\n".join(training(folder, options.ranks, nbytes // 320, max(1, options.repeats // 2))))


if __name__ == "__main__":
    main()
