"""One exact pass over sparse rows (value and gradient) beside SciPy's two products and a sigmoid or softmax.

Both are called in turn, and the median of the ratios of their processor times is printed: the load of the machine
changes it as little as possible. OPENBLAS_NUM_THREADS=1 python -m benchmarks.passes [repeats]

MPIOPT_DATA names the folder of the real sets. Sets with few zeros are here as sparse rows, too, though files of them
would be read as dense ones: a caller of `mpiopt.fit` may hand them over as a sparse matrix.
"""

from __future__ import annotations

import bz2
import gzip
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import CsrRows
from mpiopt.objective import passes
from mpiopt.objective.losses.base import Loss

GOAL = 0.8  # of SciPy's time
REAL = {
    "a1a": "a1a/a1a",
    "a9a": "a9a/a9a",
    "agaricus": "agaricus/agaricus.txt.train",
    "mushrooms": "mushrooms/mushrooms",
    "phishing": "phishing_prefix/phishing.first8618",
    "spambase": "spambase/spambase.gz",
    "rcv1": "rcv1_cocoa/small_train.dat",
    "basehock": "basehock/basehock.gz",
    "dorothea": "dorothea/dorothea.bz2",
    "dna": "dna/dna",
    "shuttle": "shuttle/shuttle.gz",
    "covtype": "covtype20k/covtype20k.gz",
    "ohsumed": "ohsumed/ohsumed.bz2",
}
OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open}


class SparseSet(NamedTuple):
    """Rows, with class numbers from 0."""

    name: str
    x: Any  # SciPy CSR matrix, int32 indices
    classes: NDArray[np.int64]  # (n,)
    outputs: int  # 1: logistic, the first class against the rest; more: softmax


def real_sets() -> Iterator[SparseSet]:
    """Read the real sets that are there; those of several classes come twice."""
    from sklearn.datasets import load_svmlight_file

    folder = Path(os.environ.get("MPIOPT_DATA", "../../shared/data"))
    for name, pattern in REAL.items():
        path = folder / pattern
        if not path.is_file():
            print(f"{name}: no such file, left out")
            continue
        with OPENERS.get(path.suffix, open)(path, "rb") as file:  # type: ignore[call-arg]
            x, y = load_svmlight_file(file)
        labels, classes = np.unique(y, return_inverse=True)
        for outputs in (1,) if len(labels) == 2 else (1, len(labels)):
            yield SparseSet(name, x, classes, outputs)


def made_sets() -> Iterator[SparseSet]:
    """Make rows of a dozen numbers, images of ten classes with 19 % of their pixels, and text."""
    from scipy import sparse

    from benchmarks.data import text

    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, 300, (50_000, 12), dtype=np.int32), axis=1)
    short = sparse.csr_matrix((rng.standard_normal(600_000), columns.ravel(), np.arange(0, 600_001, 12)))
    short.sum_duplicates()
    yield SparseSet("short rows", short, rng.integers(0, 2, 50_000), 1)
    images = sparse.random(10_000, 778, 0.19, "csr", random_state=0)
    yield SparseSet("images", images, rng.integers(0, 10, 10_000), 1)
    yield SparseSet("images", images, rng.integers(0, 10, 10_000), 10)
    x, y = text(16_000, 62_000, 5)
    yield SparseSet("text", x, (y > 0).astype(np.int64), 1)
    x, y = text(200_000, 37_000, 5)
    yield SparseSet("long text", x, (y > 0).astype(np.int64), 1)


def with_scipy(data: SparseSet, w: NDArray[np.float64]) -> Callable[[], Any]:
    """Return a function that computes the gradient by SciPy's products, as a user would write it."""
    x, classes, row = data.x, data.classes, np.arange(data.x.shape[0])
    if data.outputs == 1:
        y, weights = np.where(classes == 0, -1.0, 1.0), w[0].copy()
        return lambda: x.T @ (-y / (1.0 + np.exp(y * (x @ weights))))
    columns = np.ascontiguousarray(w.T)

    def gradient() -> Any:
        z = x @ columns
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        z[row, classes] -= 1.0
        return x.T @ z

    return gradient


def with_mpiopt(data: SparseSet, w: NDArray[np.float64]) -> Callable[[], Any]:
    """Return a function that computes value and gradient."""
    x, n = data.x, data.x.shape[0]
    rows = CsrRows(x.indptr.astype(np.int64), x.indices, x.data, x.shape[1])
    loss = Loss.make("logistic" if data.outputs == 1 else "softmax")
    y = np.where(data.classes == 0, -1.0, 1.0) if data.outputs == 1 else data.classes.astype(np.float64)
    s, no_table = np.ones(n), np.empty((0, data.outputs))
    return lambda: passes.value_and_gradient(rows, y, s, loss, w, no_table)


def seconds(function: Callable[[], Any]) -> float:
    """Return the processor time of a call."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


def line(data: SparseSet, repeats: int) -> str:
    """Measure a set and return its line of the table."""
    x = data.x
    x.indices, x.indptr = x.indices.astype(np.int32), x.indptr.astype(np.int32)
    w = np.random.default_rng(1).standard_normal((data.outputs, x.shape[1])) / (10.0 * np.abs(x.data).max())
    theirs, ours = with_scipy(data, w), with_mpiopt(data, w)
    np.testing.assert_allclose(ours()[1], np.asarray(theirs()).T.reshape(w.shape), rtol=1e-8, atol=1e-8)
    times = np.array([(seconds(theirs), seconds(ours)) for _ in range(repeats)])
    ratio, (scipy_ms, our_ms) = np.median(times[:, 1] / times[:, 0]), 1e3 * np.median(times, axis=0)
    n, d = x.shape
    size = f"{data.name} | {n:,} × {d:,} | {x.nnz / n:.0f} | {data.outputs}"
    return f"| {size} | {scipy_ms:.2f} | {our_ms:.2f} | {ratio:.2f}{'' if ratio <= GOAL else ' *'} |"


def main() -> None:
    """Print the table; a star marks what misses the goal."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 101
    print("| set | rows × columns | numbers a row | outputs | SciPy, ms | mpiopt, ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for sets in (real_sets, made_sets):
        for data in sets():
            print(line(data, max(11, min(repeats, int(1e9 / (data.x.nnz * data.outputs))))), flush=True)


if __name__ == "__main__":
    main()
