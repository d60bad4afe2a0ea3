"""`python -m benchmarks.auto > docs/benchmarks/auto.md`: the work of `auto` beside that of each algorithm.

Arguments: names of sets, or tuned or judged; all without. Every loss that fits the labels is run.

Each run is `mpiopt.fit` on one rank until certified to 1e-6, on real data. Work is counted (`benchmarks.work`), so
the table is the same on a busy machine. What the certifier does to measure rounding, where a certificate stands
still, is left out: its Hessian would hide what an algorithm costs. Every k-th row of a set is used, so that at most
100 000 numbers are left. l2 is 1/N; l1 is a twentieth of the least one that makes all coefficients 0.
`saga` is left out among the single algorithms: it takes most of the time and is hardly ever the best here.

A coin, a bit of the SHA-256 of the name, put each set into the tuned or the judged half. The constants of
`mpiopt.algorithms.portfolio` and `cost_model` were corrected by runs on both halves, though, so the judged half is no
blind one.
"""

from __future__ import annotations

import bz2
import hashlib
import itertools
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.tightness import LOSSES, Data, strengths
from benchmarks.work import counted
from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.shard import DenseRows
from mpiopt.objective import certificate
from mpiopt.training.fit import fit
from mpiopt.training.fitted import Fit

ROOT = Path(os.environ.get("MPIOPT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
NUMBERS = 1e5  # of a set, so that the table takes minutes
EPOCHS = 200.0  # budget of a run
LAW = 1.3  # work of `auto` over that of the best algorithm, at most
ALGORITHMS = ("newton", "lbfgs", "newton-cg", "working-set")  # saga takes most of the time and is hardly ever best
LARGEST_NEWTON = 1500  # unknowns: with more a step takes seconds
LOSS = {"binary": "logistic", "multiclass": "softmax", "real": "squared", "count": "poisson"}
MORE = {
    "binary": ["allaml/allaml.bz2", "arcene/arcene.bz2", "dorothea/dorothea.bz2", "higgs7k/higgs7k.train.gz"],
}
NO_ROUNDING = replace(certificate.TUNING, patience=10**9)


@dataclass(frozen=True)
class Cell:
    """A set with a penalty: the work of each algorithm that arrives, and of `auto`, in modelled milliseconds."""

    data: str
    penalty: str
    works: dict[str, float]
    auto: float  # inf if not certified
    course: str  # the algorithms of `auto`

    @property
    def best(self) -> str:
        """The algorithm with the least work."""
        return min(self.works, key=self.works.__getitem__)

    @property
    def ratio(self) -> float:
        """The work of `auto` over the least work."""
        return self.auto / self.works[self.best]


def half(name: str) -> str:
    """Return "tuned" or "judged", by a bit of a checksum of the set's name."""
    return "tuned" if hashlib.sha256(name.encode()).digest()[0] & 1 else "judged"


def read(file: str, target: str, numbers: float = NUMBERS) -> Data | None:
    """Return every k-th row of a set; None if its file is not there."""
    path = ROOT / file
    if not path.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        if path.suffix == ".bz2":
            unpacked = Path(folder) / path.stem
            unpacked.write_bytes(bz2.decompress(path.read_bytes()))
            path = unpacked
        shard = prepare(str(path), target, DataOptions(shards="contiguous"), 0, single()).shard
    rows = shard.rows
    chosen = np.argsort(shard.order)[:: max(1, int(np.ceil(rows.values.size / numbers)))]
    if isinstance(rows, DenseRows):
        return Data(file.partition("/")[0], rows.values[chosen, : shard.features], shard.label[chosen])
    from scipy import sparse

    whole = sparse.csr_matrix((rows.values, rows.indices, rows.indptr), (len(rows), rows.width))
    return Data(file.partition("/")[0], whole[chosen][:, : shard.features], shard.label[chosen])


def cells(names: set[str]) -> Iterator[Cell]:
    """Measure every set that is there."""
    from benchmarks.real_sets import every_real_set  # it takes `read` from here

    for target, losses in LOSSES.items():
        for name, load in every_real_set(target, NUMBERS):
            rows = load() if not names or names & {name, half(name)} else None
            for loss, penalty in itertools.product(losses, ("l2", "l1")) if rows is not None else ():
                found = measure(Data(name, *rows), loss, penalty)
                if found is not None:
                    print(f"{found.data} {penalty}: {found.ratio:.2f}", file=sys.stderr, flush=True)
                    yield found


def measure(data: Data, loss: str, penalty: str) -> Cell | None:
    """Run all algorithms and `auto`; None if no algorithm arrives."""
    works, l1 = {}, penalty == "l1"
    unknowns = data.x.shape[1] * (int(data.y.max()) + 1 if loss == "softmax" else 1)
    for algorithm in ALGORITHMS:
        if algorithm == ("newton-cg" if l1 else "working-set") or (
            algorithm == "newton" and unknowns > LARGEST_NEWTON
        ):
            continue
        fitted, work = run(data, loss, penalty, algorithm)
        if fitted.certified:
            works[algorithm] = work
    if not works:
        return None
    fitted, work = run(data, loss, penalty, "auto")
    course = ", ".join(event.text.partition(":")[0] for event in fitted.events)
    return Cell(f"{data.name} {loss}", penalty, works, work if fitted.certified else np.inf, course)


def run(data: Data, loss: str, penalty: str, algorithm: str) -> tuple[Fit, float]:
    """Return a fit and its work in modelled milliseconds."""
    with warnings.catch_warnings(), counted() as work, mock.patch.object(certificate, "TUNING", NO_ROUNDING):
        warnings.simplefilter("ignore")  # a run may spend its budget
        strength = strengths(data, loss, penalty, intercept=True)
        fitted = fit(data.x, data.y, loss=loss, algorithm=algorithm, max_epochs=EPOCHS, **strength)
    return fitted, 1e3 * work.seconds()


def page(found: list[Cell]) -> str:
    """Return the page."""
    lines = ["# The choice of auto", "", str(__doc__).strip(), ""]
    lines += ["| half | cells | median | worst | within 1.3 |", "|---|---|---|---|---|"]
    for name in ("tuned", "judged"):
        ratios = [cell.ratio for cell in found if half(cell.data.split()[0]) == name]
        if ratios:
            middle, inside = statistics.median(ratios), sum(ratio <= LAW for ratio in ratios)
            lines.append(f"| {name} | {len(ratios)} | {middle:.2f} | {max(ratios):.2f} | {inside} |")
    lines += ["", "Each cell, the worst first; works are modelled milliseconds to a certified 1e-6:", ""]
    lines += ["| set | half | penalty | auto/best | best | works | auto ran |", "|---|---|---|---|---|---|---|"]
    for cell in sorted(found, key=lambda cell: -cell.ratio):
        works = ", ".join(f"{name} {work:.2g}" for name, work in cell.works.items())
        where = f"{cell.data} | {half(cell.data.split()[0])} | {cell.penalty}"
        lines.append(f"| {where} | {cell.ratio:.2f} | {cell.best} | {works} | {cell.course} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(list(cells(set(sys.argv[1:])))))
