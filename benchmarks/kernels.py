"""Time of the SAGA and pass kernels beside the limit of the machine: streaming rows in float64 from memory.

All kernels are measured in turn within one run and the least time is taken, so that the load of the machine changes
ratios as little as possible. Processor time, one thread: OPENBLAS_NUM_THREADS=1 python benchmarks/kernels.py
[repeats]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from numba import njit

from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Shard
from mpiopt.kernels import permutations
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

DENSE = (
    (20_000, 1000, np.float64, 65.0),
    (200_000, 100, np.float32, 40.0),
)  # rows, columns, type, goal in %
SPARSE = (100_000, 50_000, 77)  # rows, columns, nonzeros of a row, before those of the same column are merged
SPARSE_GOAL = 3.5  # ns per nonzero
FORMS = ("saga", "saga b=1", "lazy", "pass")  # on sparse rows; b: rows of a batch


@njit(fastmath=True, cache=True)
def stream(x):
    """Read x once, which every kernel that sees all rows must do."""
    total = 0.0
    for i in range(x.size):
        total += x[i]
    return total


def aligned(n: int, width: int, dtype: type) -> np.ndarray:
    """Return an array that begins at a memory page, as large arrays of a run do."""
    nbytes = n * width * np.dtype(dtype).itemsize
    raw = np.empty(nbytes + 4096, np.uint8)
    first = -raw.ctypes.data % 4096
    return raw[first : first + nbytes].view(dtype).reshape(n, width)


def problem(rows: Rows, features: int) -> Objective:
    """Return a logistic objective with the ridge 1/n."""
    n = len(rows)
    y = np.random.default_rng(1).choice([-1.0, 1.0], n)
    shard = Shard(rows, y, np.ones(n), np.arange(n), 0, n, features)
    return Objective(Loss.make("logistic"), Penalty.make("ridge", {"l2": 1 / n}), shard)


def calls(objective: Objective, batch: int = 8, form: str = "sparse") -> dict[str, Callable[[], object]]:
    """Return functions that do one epoch of SAGA and one fused pass."""
    n = len(objective.shard)
    w, table = objective.zeros(), np.empty((n, 1))
    average = objective.refresh(w, table)[1]
    step = np.full(objective.width, 1e-3)
    moves = SagaCall(permutations.shuffled(n, batch, 1), step, 1 / batch, 1 / n, batch, form)
    return {
        "saga": lambda: local_steps(objective, moves, w, average, table),
        "pass": lambda: objective.evaluate(w),
    }


def fastest(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the least processor time of each function, measured in turn."""
    best = {name: np.inf for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            begin = time.process_time()
            function()
            best[name] = min(best[name], time.process_time() - begin)
    return best


def dense_times(n: int, d: int, dtype: type, repeats: int) -> dict[str, float]:
    """Return ns per row of the stream, an epoch of SAGA and a pass on dense rows."""
    x = aligned(n, -(-d // 8) * 8, dtype)
    x[...] = np.random.default_rng(0).standard_normal(x.shape, np.float32)
    x[:, d:] = 0
    probe = np.ones(n * d)
    functions = {"stream": lambda: stream(probe)} | calls(problem(DenseRows(x), d))
    return {name: 1e9 * seconds / n for name, seconds in fastest(functions, repeats).items()}


def sparse_times(dtype: type, repeats: int, forms: Sequence[str] = FORMS) -> dict[str, float]:
    """Return ns per nonzero of epochs of SAGA and a pass on CSR rows whose columns are as popular as words."""
    n, d, nonzeros = SPARSE
    rng = np.random.default_rng(0)
    columns = np.sort((d * rng.random((n, nonzeros)) ** 2).astype(np.int32), axis=1)
    kept = np.diff(columns, axis=1, prepend=-1) > 0  # the columns of a row are distinct
    values = rng.standard_normal(kept.sum()).astype(dtype)
    rows = CsrRows(np.append(0, kept.sum(axis=1).cumsum()), columns[kept], values, d)
    objective = problem(rows, d)
    functions = calls(objective) | {"lazy": calls(objective, form="lazy")["saga"]}
    functions["saga b=1"] = calls(objective, batch=1)["saga"]
    best = fastest({name: functions[name] for name in forms}, repeats)
    return {name: 1e9 * seconds / len(values) for name, seconds in best.items()}


def main() -> None:
    """Print the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    for n, d, dtype, goal in DENSE:
        ns = dense_times(n, d, dtype, repeats)
        shares = "   ".join(f"{k} {ns[k]:6.1f} = {100 * ns['stream'] / ns[k]:3.0f} %" for k in ("saga", "pass"))
        rows = f"dense {n:>7,} x {d:<5} {np.dtype(dtype).name:8}"
        print(f"{rows} stream {ns['stream']:6.1f} ns/row   {shares}   (goal: saga {goal:g} %)")
    for dtype in (np.float64, np.float32):
        times = sparse_times(dtype, max(2, repeats // 2))
        figures = "   ".join(f"{name} {ns:5.2f}" for name, ns in times.items())
        rows = f"csr   {SPARSE[0]:>7,} x {SPARSE[1]:,} {np.dtype(dtype).name:8}"
        print(f"{rows} ns per nonzero: {figures}   (goal: saga {SPARSE_GOAL})")


if __name__ == "__main__":
    main()
