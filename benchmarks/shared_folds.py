"""What a margin costs by how many models share a pass: whether folds would gain from sharing passes with each other.

python -m benchmarks.shared_folds [--sets NAME,…]

A group of a path has up to 32 points. Five folds together would have 160 margins in a product. The table has
processor nanoseconds for each multiply-add of a product of the rows with so many models, and of one with the
transposed rows. MPIOPT_DATA names the folder of the real sets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy import sparse

from benchmarks.paths import read_set
from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.objective import passes

MODELS = (1, 8, 32, 160)
LEAST = 0.2  # seconds of a measurement


def rows_of(name: str) -> Rows:
    """Return the rows of a set in the form of a shard."""
    x = read_set(name).x
    if sparse.issparse(x):
        x = sparse.csr_matrix(x)
        return CsrRows(x.indptr.astype(np.int64), x.indices.astype(np.int32), x.data, x.shape[1])
    return DenseRows(np.ascontiguousarray(np.pad(x, ((0, 0), (0, -x.shape[1] % 8)))))


def nanoseconds(call: Callable[[], object], work: float) -> float:
    """Return the least processor time of a call for each multiply-add of several rounds."""
    call()
    least, began = np.inf, time.process_time()
    while time.process_time() - began < LEAST:
        start = time.process_time()
        call()
        least = min(least, time.process_time() - start)
    return 1e9 * least / work


def product(rows: Rows, word: str, models: int) -> Callable[[], object]:
    """Return the product of the rows, or of the transposed rows, with so many models."""
    if word == "margins":
        w = np.random.default_rng(0).normal(size=(models, rows.width))
        return lambda: passes.margins(rows, w)
    c = np.random.default_rng(1).normal(size=(len(rows), models))
    return lambda: passes.weighted_row_sum(rows, c)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default="ailerons,arcene,a9a,basehock")
    print("| set | product | " + " | ".join(f"{k} models" for k in MODELS) + " |")
    print("|---" * (len(MODELS) + 2) + "|")
    for name in parser.parse_args().sets.split(","):
        rows = rows_of(name)
        for word in ("margins", "transposed"):
            found = [nanoseconds(product(rows, word, k), rows.values.size * k) for k in MODELS]
            print(f"| {name} | {word} | " + " | ".join(f"{each:.3f}" for each in found) + " |", flush=True)


if __name__ == "__main__":
    main()
