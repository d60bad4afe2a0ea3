"""`python -m benchmarks.compression`: bytes to 1e-6 and to a certified 1e-10 with every compressor, as Markdown.

Runs distributed SAGA on 4 ranks (threads, which count the same bytes as MPI) on real data sets, rows shuffled and
sorted by label; messages are compressed in both directions. The columns are the indicators of Philippenko and
Dieuleveut (2024): bytes saved, rounds to the target, final error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.base import Comm
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.compress.error_feedback import MEMORIES
from mpiopt.core.config.job import DataOptions, Model, Stopping
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.history import Clock, HistoryRow
from mpiopt.data.dataset import prepare
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run
from mpiopt.training.problem import pose, target_of
from mpiopt.training.run_state import RunPlan

RANKS = 4
TARGETS = (1e-6, 1e-10)
SHARDS = ("shuffled", "sorted-by-label")
MORE = ("quantised[levels=127]", "quantised[levels=3]", "quantised[levels=1]")


@dataclass(frozen=True)
class CompressionCase:
    """A data set and its loss; without a preconditioner if `plain`."""

    path: str
    loss: str
    plain: bool = False

    @property
    def name(self) -> str:
        """The stem of the file, with a mark if steps have no preconditioner."""
        return Path(self.path).stem + (" (no preconditioner)" if self.plain else "")


def problems(folder: Path) -> list[CompressionCase]:
    """Return the sets of the table that are there."""
    listed = [
        CompressionCase(str(folder / "a9a" / "a9a"), "logistic"),
        CompressionCase(str(folder / "rcv1_cocoa" / "small_train.dat"), "logistic"),
        CompressionCase(str(folder / "cadata" / "cadata"), "squared"),
        CompressionCase(str(folder / "pendigits" / "pendigits.tr"), "softmax"),
    ]
    return [p for p in listed if Path(p.path).exists()]


def digits(folder: str) -> CompressionCase:
    """Write scikit-learn's digits to a file in the folder."""
    from sklearn.datasets import dump_svmlight_file, load_digits

    x, y = load_digits(return_X_y=True)
    path = Path(folder) / "digits.svm"
    dump_svmlight_file(x / 16, y, str(path), zero_based=False)
    return CompressionCase(str(path), "softmax")


def history(problem: CompressionCase, shards: str, compressor: Compressor | None, epochs: float) -> list[HistoryRow]:
    """Run to the last target and return the history."""

    def main(comm: Comm) -> list[HistoryRow]:
        model = Model(parse_spec(problem.loss))
        data = prepare(problem.path, target_of(model), DataOptions(shards=shards), 0, comm)
        objective = pose(model, data.shard, data.target, data.classes)
        channel = Channel(comm, 0, compressor, MEMORIES[-1], downlink=True)
        saga = Saga(preconditioner="none" if problem.plain else "auto")
        plan = RunPlan(Stopping(TARGETS[-1], epochs))
        return run(plan, objective, saga, channel, StopSignal(), Clock(), lambda row: None).rows

    return spmd(RANKS, main, 1200.0)[0]


def reached(rows: list[HistoryRow], target: float) -> HistoryRow | None:
    """Return the first row at which the certificate meets the target."""
    return next((row for row in rows if row.certificate <= target), None)


def compressors() -> list[str]:
    """Return every compressor with its defaults, and some levels of quantisation."""
    return ["none", *(name for name in Compressor.known() if name != "none"), *MORE]


def table(problem: CompressionCase, shards: str, names: list[str], epochs: float) -> list[str]:
    """Return the table of one problem; ratios are bytes without compression over bytes with."""
    lines = [f"\n### {problem.name}, {shards}, {RANKS} ranks\n"]
    lines += ["| compressor | kB to 1e-6 | saved | kB to 1e-10 | saved | rounds | epochs | last gap |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    base: list[HistoryRow | None] = []
    for name in names:
        chosen = parse_spec(name)
        made = None if name == "none" else Compressor.make(chosen.name, chosen.options)
        rows = history(problem, shards, made, epochs)
        found = [reached(rows, target) for target in TARGETS]
        base = base or found
        cells = [cell for row, first in zip(found, base, strict=True) for cell in costs(row, first)]
        last = rows[-1]
        lines.append(f"| {name} | {' | '.join(cells)} | {last.round} | {last.epoch:.3g} | {last.certificate:.1e} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def costs(row: HistoryRow | None, first: HistoryRow | None) -> tuple[str, str]:
    """Return kilobytes, and how many times fewer they are than without compression."""
    if row is None:
        return "–", "–"
    return f"{row.bytes_sent / 1e3:.4g}", f"{first.bytes_sent / row.bytes_sent:.3g}x" if first else "–"


def main() -> None:
    """Print the tables of all or some sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a set's name")
    parser.add_argument("--compressors", nargs="*", default=compressors())
    parser.add_argument("--shards", nargs="*", default=SHARDS)
    parser.add_argument("--epochs", type=float, default=1500.0)
    options = parser.parse_args()
    folder = Path(os.environ.get("MPIOPT_DATA", "../shared/data"))
    with tempfile.TemporaryDirectory() as made:
        chosen = [p for p in [*problems(folder), digits(made)] if options.only in p.name]
        if not chosen:
            raise SystemExit(
                f"no data set in {folder} matches {options.only!r}; set MPIOPT_DATA to the folder of the sets"
            )
        for problem in chosen:
            for shards in options.shards:
                print("\n".join(table(problem, shards, options.compressors, options.epochs)), flush=True)


if __name__ == "__main__":
    main()
