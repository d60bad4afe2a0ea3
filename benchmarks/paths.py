"""What a path of 100 points costs beside its last point alone, in passes over all stored numbers, counted exactly.

python -m benchmarks.paths [--sets NAME,…|tuned|judged] [--points 100] [--tol 1e-6] [--ratio 1.0]

Every product with the rows is counted where it is made, set-up and certificates included: a product of the rows with
one or several models is half a pass, so is one of their transpose, and a matrix of curvature is one; a product with
some columns counts with the part of all stored numbers that these columns have. The last point alone is `mpiopt.fit`
with the working set, from no model. MPIOPT_DATA names the folder of the real sets.

The method was tuned on the sets whose coin (`coin`) shows heads; the others judge it.
"""

from __future__ import annotations

import argparse
import bz2
import functools
import gzip
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import mpiopt
from mpiopt.objective import passes

SETS = {
    "a1a": ("a1a/a1a", "logistic", 1e-3),
    "a9a": ("a9a/a9a", "logistic", 1e-3),
    "abalone": ("abalone/abalone", "squared", 1e-3),
    "ailerons": ("ailerons/ailerons.gz", "squared", 1e-3),
    "allaml": ("allaml/allaml.bz2", "logistic", 1e-2),
    "arcene": ("arcene/arcene.bz2", "logistic", 1e-2),
    "basehock": ("basehock/basehock.gz", "logistic", 1e-2),
    "breast-cancer": ("breast_cancer/breast-cancer", "logistic", 1e-3),
    "cadata": ("cadata/cadata", "squared", 1e-3),
    "covtype": ("covtype20k/covtype20k.gz", "logistic", 1e-3),
    "cpusmall": ("cpusmall/cpusmall", "squared", 1e-3),
    "dorothea": ("dorothea/dorothea.bz2", "logistic", 1e-2),
    "german": ("german/german.numer_scale", "logistic", 1e-3),
    "higgs": ("higgs7k/higgs7k.train.gz", "logistic", 1e-3),
    "housing": ("housing/housing_scale", "squared", 1e-3),
    "magic04": ("magic04/magic04", "logistic", 1e-3),
    "mushrooms": ("mushrooms/mushrooms", "logistic", 1e-2),
    "phishing": ("phishing_prefix/phishing.first8618", "logistic", 1e-3),
    "pyrim": ("pyrim/pyrim", "squared", 1e-2),
    "rcv1": ("rcv1_cocoa/small_train.dat", "logistic", 1e-2),
    "spambase": ("spambase/spambase.gz", "logistic", 1e-3),
    "svmguide1": ("svmguide1/svmguide1", "logistic", 1e-3),
    "triazines": ("triazines/triazines", "squared", 1e-2),
}  # file, loss, last λ over the first
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}


class PathSet(NamedTuple):
    """Rows, labels, loss, and the last λ over the first."""

    name: str
    x: Any
    y: Any
    loss: str
    min_ratio: float


def coin(name: str) -> str:
    """Return "heads" or "tails" for a set, by the first bit of the SHA-256 of its name."""
    return "heads" if hashlib.sha256(name.encode()).digest()[0] & 128 else "tails"


def read_set(name: str) -> PathSet:
    """Read a real set; rows that are mostly full become a dense array."""
    from sklearn.datasets import load_svmlight_file

    place, loss, min_ratio = SETS[name]
    path = Path(os.environ.get("MPIOPT_DATA", "../../shared/data")) / place
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        x, y = load_svmlight_file(file)
    if x.nnz > 0.5 * x.shape[0] * x.shape[1]:
        x = x.toarray()
    if loss == "logistic":
        places = np.unique(y, return_inverse=True)[1]
        y = (places == np.bincount(places).argmax()).astype(float)  # the commonest class against the rest
    else:
        y = (y - y.mean()) / y.std()
        if isinstance(x, np.ndarray):
            spread = x.std(axis=0)
            x = (x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    return PathSet(name, x, y, loss, min_ratio)


@dataclass
class Counted:
    """Numbers of the rows that were read, by what they were read for."""

    numbers: float = 0.0
    flops: float = 0.0  # multiply-adds
    largest: int = 0  # numbers stored in the largest rows that were seen: all of them

    @property
    def passes(self) -> float:
        """Passes over all stored numbers."""
        return self.numbers / max(self.largest, 1)


PRODUCTS = {
    "value_and_gradient": 1.0,
    "hessian_vector": 1.0,
    "margins": 0.5,
    "gram": 1.0,
    "squared_norms": 0.5,
    "column_squares": 0.5,
    "weighted_row_sum": 0.5,
    "column_counts": 0.5,
    "chosen_columns": 0.5,
}  # passes over the rows they are given


@contextmanager
def counting() -> Iterator[Counted]:
    """Count the products with rows that are made in the block."""
    found, kept = Counted(), {name: getattr(passes, name) for name in PRODUCTS}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(rows: Any, *rest: Any, **named: Any) -> Any:
            size = rows.values.size
            found.largest = max(found.largest, size)
            if name == "chosen_columns" and not hasattr(rows, "indptr"):
                found.numbers += len(rows) * len(rest[0])  # dense rows: only these columns are touched
            else:
                found.numbers += PRODUCTS[name] * size
            return function(rows, *rest, **named)

        return call

    try:
        for name, function in kept.items():
            setattr(passes, name, counted(name, function))
        yield found
    finally:
        for name, function in kept.items():
            setattr(passes, name, function)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default="")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--ratio", type=float, default=1.0)
    options = parser.parse_args()
    chosen = {"": list(SETS), "tuned": [s for s in SETS if coin(s) == "heads"]}
    chosen["judged"] = [s for s in SETS if coin(s) == "tails"]
    print("| set | coin | rows × columns | last nonzeros | path, passes | last alone | ratio | seconds, ratio |")
    print("|---|---|---|---|---|---|---|---|")
    ratios = []
    for name in chosen.get(options.sets) or options.sets.split(","):
        one = read_set(name)
        grid = mpiopt.PathOptions(l1_ratio=options.ratio, points=options.points, min_ratio=one.min_ratio)
        with counting() as whole:
            began = time.process_time()
            found = mpiopt.path(one.x, one.y, loss=one.loss, options=grid, tol=options.tol)
            spent = time.process_time() - began
        began = time.process_time()  # once more: the first one has compiled
        mpiopt.path(one.x, one.y, loss=one.loss, options=grid, tol=options.tol)
        spent = min(spent, time.process_time() - began)
        last, best, least = found.points[-1], np.inf, np.inf
        for algorithm in ("working-set", "auto") * 2:  # the first ones have compiled
            with counting() as alone:
                began = time.process_time()
                mpiopt.fit(one.x, one.y, loss=one.loss, l1=last.l1, l2=last.l2, tol=options.tol, algorithm=algorithm)
                least = min(least, time.process_time() - began)
            best = min(best, alone.passes)
        ratios.append(whole.passes / best)
        size = " × ".join(map(str, one.x.shape))
        mark = "" if found.certified else f" ({sum(not point.certified for point in found.points)} not certified)"
        print(
            f"| {name}{mark} | {coin(name)} | {size} | {last.nonzeros} | {whole.passes:.1f} | {best:.1f} "
            f"| {ratios[-1]:.1f} | {spent / least:.1f} |",
            flush=True,
        )
    print(f"\nmedian ratio {np.median(ratios):.1f}, largest {max(ratios):.1f}")


if __name__ == "__main__":
    main()
