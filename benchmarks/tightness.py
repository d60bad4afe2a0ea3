"""`python -m benchmarks.tightness > docs/benchmarks/tightness.md`: how late certificates come, on real data.

Each run is `mpiopt.fit` on one rank to the tolerance 1e-6. It is certified after so many epochs; its model was within
1e-6 of the optimum after fewer, or as many. The ratio of the two is the price of the certificate. Both are epochs of
exact evaluations of one run, so that the ratio is 1 where the first good model was certified. One evaluation more is
much where there are few, as with Newton's method; so "between" is the ratio where the logarithms of certificate and
suboptimality fall on straight lines between evaluations. Suboptimality is
relative to F(w) − floor, as the certificate is; F* is the least objective of a run to 1e-12 and of all others.

At most ROWS rows of a set are used, every k-th one. Columns are scaled to a largest entry of 1. l2 is 1/N; l1 is a
twentieth of the least one that makes all coefficients 0.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.shard import DenseRows
from mpiopt.training.fit import fit
from mpiopt.training.fitted import Fit

Vector = NDArray[np.float64]

ROOT = Path(os.environ.get("MPIOPT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ROWS = 1000  # of a set, so that the table takes minutes
TOLERANCE = 1e-6
EPOCHS = 500.0  # budget of a run
GOAL = 1.15  # ratio that the certificate may cost
LEAST = 1e-16  # suboptimality that is rounding
LEAST_SCALE = 1e-9  # of F(0) − floor: suboptimality is relative to at least this
L1_SHARE = 0.05  # of the least l1 that makes all coefficients 0
LOSSES = {
    "binary": ["logistic", "squared-hinge"],
    "multiclass": ["softmax"],
    "real": ["squared", "huber"],
    "count": ["poisson"],
}
SETS = {
    "binary": [
        *("a1a/a1a", "a9a/a9a", "agaricus/agaricus.txt.train", "basehock/basehock.gz", "breast_cancer/breast-cancer"),
        *("german/german.numer_scale", "heart_scale/heart_scale", "magic04/magic04", "mushrooms/mushrooms"),
        *("oil_spill/oil_spill.gz", "phishing_prefix/phishing.first8618", "rcv1_cocoa/small_train.dat"),
        *("spambase/spambase.gz", "svmguide1/svmguide1"),
    ],
    "multiclass": ["dna/dna", "pendigits/pendigits.tr", "satimage/satimage.gz", "shuttle/shuttle.gz"],
    "real": [
        *("abalone/abalone", "ailerons/ailerons.gz", "cadata/cadata", "cpusmall/cpusmall", "housing/housing_scale"),
        *("keggundirected/keggundirected.gz", "pyrim/pyrim", "sml/sml.gz", "triazines/triazines"),
    ],
    "count": ["abalone/abalone", "cpusmall/cpusmall"],
}
PENALTIES = ("l2", "l1", "both")
ALGORITHMS = ("auto", "saga", "lbfgs", "newton")


@dataclass(frozen=True, eq=False)
class Data:
    """Rows and labels of a set."""

    name: str
    x: Any  # (n, d) array or SciPy CSR matrix
    y: Vector  # −1/+1, class numbers, or numbers


@dataclass(frozen=True)
class Run:
    """One run: what it was, and its epochs until certified and until within the tolerance; inf if not in EPOCHS."""

    data: str
    loss: str
    penalty: str
    intercept: bool
    algorithm: str
    certified: float
    reached: float
    certified_between: float  # the same where the logarithms of both fall on straight lines between evaluations
    reached_between: float

    @property
    def ratio(self) -> float:
        """Return the price of the certificate; nan where the optimum was not reached."""
        return quotient(self.certified, self.reached)

    @property
    def ratio_between(self) -> float:
        """Return the price, as the lines between evaluations tell it."""
        return quotient(self.certified_between, self.reached_between)


def quotient(certified: float, reached: float) -> float:
    """Return certified / reached; 1 if both are 0, nan if the optimum was not reached."""
    return max(certified, 1e-9) / max(reached, 1e-9) if np.isfinite(reached) else np.nan


def read(file: str, target: str) -> Data | None:
    """Return every k-th row of a set; None if its file is not there."""
    path = ROOT / file
    if not path.exists():
        return None
    options = DataOptions(scale="maxabs", shards="contiguous")
    shard = prepare(str(path), target, options, 0, single()).shard
    chosen = np.argsort(shard.order)[:: -(-shard.total // ROWS)]
    rows = shard.rows
    if isinstance(rows, DenseRows):
        x = rows.values[chosen, : shard.features]
    else:
        from scipy import sparse

        whole = sparse.csr_matrix((rows.values, rows.indices, rows.indptr), (len(rows), rows.width))
        x = whole[chosen][:, : shard.features]
    return Data(file.partition("/")[0], x, shard.label[chosen])


def strengths(data: Data, loss: str, penalty: str, intercept: bool) -> dict[str, float]:
    """Return l1 and l2 of a penalty."""
    if loss == "softmax":
        centre = np.eye(int(data.y.max()) + 1)[data.y.astype(int)]
    else:
        centre = (data.y * (0.5 if loss == "logistic" else 1.0))[:, None]
    centre = centre - centre.mean(axis=0) if intercept or loss in ("softmax", "poisson") else centre
    slope = np.clip(centre, -1.0, 1.0) if loss == "huber" else centre * (2.0 if loss == "squared-hinge" else 1.0)
    largest = float(np.abs(data.x.T @ slope).max()) / len(data.y)
    return {
        "l1": L1_SHARE * largest if penalty in ("l1", "both") else 0.0,
        "l2": 1.0 / len(data.y) if penalty in ("l2", "both") else 0.0,
    }


def runs(data: Data, loss: str, penalty: str, intercept: bool) -> Iterator[Run]:
    """Run all algorithms on a problem."""
    options: dict[str, Any] = {"loss": loss, "intercept": intercept, **strengths(data, loss, penalty, intercept)}
    found = {name: fitted(data, algorithm=name, tol=TOLERANCE, max_epochs=EPOCHS, **options) for name in ALGORITHMS}
    exact = fitted(data, tol=1e-12, max_epochs=4.0 * EPOCHS, **options)
    best = min(row.objective for each in (exact, *found.values()) if each for row in each.history)
    floor, start = floor_of(data, loss), start_of(data, loss)
    for name, each in found.items():
        if each is None:
            yield Run(data.name, loss, penalty, intercept, name, *[np.inf] * 4)
            continue
        epochs = np.array([row.epoch for row in each.history])
        value = np.array([row.objective for row in each.history])
        excess = (value - best) / np.maximum(value - floor, LEAST_SCALE * (start - floor))
        certificate = np.array([row.certificate for row in each.history])
        yield Run(
            data.name,
            loss,
            penalty,
            intercept,
            name,
            *(first_within(epochs, certificate), first_within(epochs, excess)),
            *(first_within(epochs, certificate, between=True), first_within(epochs, excess, between=True)),
        )


def fitted(data: Data, **options: Any) -> Fit | None:
    """Return a fit; None if it ended with an error, which is printed."""
    try:
        return fit(data.x, data.y, **options)
    except ValueError as error:
        print(f"{data.name}, {options}: {error}", file=sys.stderr)
        return None


def first_within(epochs: Vector, measure: Vector, between: bool = False) -> float:
    """Return the epochs until a measure is within the tolerance; inf if it never is.

    With `between`, that is not the first evaluation within it, but the point before at which the line through the
    logarithms of two evaluations is.
    """
    within = np.flatnonzero(measure <= TOLERANCE)
    if not len(within):
        return np.inf
    k = int(within[0])
    if not between or k == 0 or not np.isfinite(measure[k - 1]):
        return float(epochs[k])
    high, low = np.log(measure[k - 1]), np.log(max(measure[k], LEAST))
    part = (high - np.log(TOLERANCE)) / (high - low)
    return float(epochs[k - 1] + part * (epochs[k] - epochs[k - 1]))


def floor_of(data: Data, loss: str) -> float:
    """Return the mean of the least loss that each label allows."""
    y = data.y
    return float((y - y * np.log(np.where(y > 0.0, y, 1.0))).mean()) if loss == "poisson" else 0.0


def start_of(data: Data, loss: str) -> float:
    """Return F(0)."""
    at_zero: dict[str, Callable[[], float]] = {
        "logistic": lambda: float(np.log(2.0)),
        "softmax": lambda: float(np.log(data.y.max() + 1.0)),
        "squared-hinge": lambda: 1.0,
        "poisson": lambda: 1.0,
        "squared": lambda: float((0.5 * data.y**2).mean()),
        "huber": lambda: float(np.where(abs(data.y) <= 1, 0.5 * data.y**2, abs(data.y) - 0.5).mean()),
    }
    return at_zero[loss]()


def campaign(names: list[str]) -> Iterator[Run]:
    """Run all problems of the sets that are there and named; all sets if none is named."""
    for target, files in SETS.items():
        for file in files:
            if names and file.partition("/")[0] not in names:
                continue
            data = read(file, target)
            if data is None:
                print(f"{file}: no such file in {ROOT}", file=sys.stderr)
                continue
            print(f"{data.name}: {data.x.shape}", file=sys.stderr, flush=True)
            for loss, penalty, intercept in itertools.product(LOSSES[target], PENALTIES, (False, True)):
                yield from runs(data, loss, penalty, intercept)


def row(name: str, found: list[Run]) -> str:
    """Return a row of a table."""
    ratios = np.array([run.ratio for run in found if np.isfinite(run.ratio)])
    ended = sum(np.isfinite(run.certified) for run in found)
    if not len(ratios):
        return f"| {name} | {len(found)} | {ended} | – | – | – | – | – | – |"
    lines = np.array([run.ratio_between for run in found if np.isfinite(run.ratio)])
    share, within = (f"{100 * float((r <= GOAL).sum()) / len(found):.0f} %" for r in (ratios, lines))
    return (
        f"| {name} | {len(found)} | {ended} | {np.median(ratios):.2f} | {np.quantile(ratios, 0.9):.2f} | "
        f"{ratios.max():.2f} | {share} | {np.median(lines):.2f} | {within} |"
    )


def table(what: str, found: list[Run], key: Callable[[Run], str]) -> str:
    """Return a table by a key."""
    names = [
        "runs",
        "certified",
        "median ratio",
        "90 %",
        "largest",
        f"<= {GOAL}",
        "median between",
        f"between <= {GOAL}",
    ]
    head = f"| {what} | {' | '.join(names)} |\n{'|---' * (len(names) + 1)}|"
    groups: dict[str, list[Run]] = {}
    for run in found:
        groups.setdefault(key(run), []).append(run)
    return "\n".join([head, *(row(name, group) for name, group in groups.items())])


def late(found: list[Run]) -> str:
    """Return the runs whose certificate came late or not at all, the worst first."""
    head = (
        "| set | loss | penalty | intercept | algorithm | epochs until certified | until within 1e-6 |\n"
        "|---|---|---|---|---|---|---|"
    )
    those = [run for run in found if not run.ratio <= GOAL]
    those.sort(key=lambda run: run.ratio if run.ratio == run.ratio else np.inf, reverse=True)
    return "\n".join([head, *(line(run) for run in those)])


def line(run: Run) -> str:
    """Return a run as a row of the table of late ones."""
    epochs = [f"{v:.1f}" if np.isfinite(v) else f"not in {EPOCHS:g}" for v in (run.certified, run.reached)]
    parts = [run.data, run.loss, run.penalty, "yes" if run.intercept else "no", run.algorithm, *epochs]
    return "| " + " | ".join(parts) + " |"


def page(command: str, found: list[Run]) -> str:
    """Return the page."""

    def options(run: Run) -> str:
        return f"{run.penalty}, {'intercept' if run.intercept else 'no intercept'}"

    return "\n\n".join(
        [
            "# How late certificates come",
            f"`{command}` writes this page.\n{(__doc__ or '').split(chr(10), 2)[2].strip()}".replace("*", "\\*"),
            table("all", found, lambda run: "all"),
            table("algorithm", found, lambda run: run.algorithm),
            table("penalty", found, options),
            table("loss", found, lambda run: run.loss),
            table("algorithm and penalty", found, lambda run: f"{run.algorithm}, {options(run)}"),
            f"## Runs with a ratio above {GOAL}\n\n" + late(found),
        ]
    )


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.tightness", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", default="", help="names of sets, with commas; all that are there otherwise")
    names = [name for name in parser.parse_args().sets.split(",") if name]
    command = "python -m benchmarks.tightness" + (f" --sets {','.join(names)}" if names else "")
    print(page(command, list(campaign(names))))


if __name__ == "__main__":
    main()
