"""The history of L-BFGS: its window and compiled two-loop beside numpy, which moves all pairs and loops in Python.

OPENBLAS_NUM_THREADS=1 python -m benchmarks.history prints mean processor times of calls made in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.second_order.lbfgs import PairWindow
from mpiopt.objective.gradient_trail import two_loop

SIZES = ((300, 40), (5_000, 40), (62_000, 40))  # columns, pairs
CALLS = 100


def in_numpy(steps: NDArray[np.float64], changes: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return H q with H₀ = 1."""
    bends, weights = np.einsum("ij,ij->i", steps, changes), np.zeros(len(steps))
    for i in reversed(range(len(steps))):
        weights[i] = steps[i] @ q / bends[i]
        q = q - weights[i] * changes[i]
    for i in range(len(steps)):
        q = q + (weights[i] - changes[i] @ q / bends[i]) * steps[i]
    return q


def functions(width: int, pairs: int) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    rng = np.random.default_rng(0)
    steps, g = rng.standard_normal((pairs, width)), rng.standard_normal((1, width))
    changes = steps * (0.1 + rng.random(width))
    window = PairWindow(np.zeros((2, pairs + PairWindow.SPARE, 1, width)), pairs)
    history = np.zeros((2, pairs, 1, width))

    def shift() -> None:
        history[:, :-1] = history[:, 1:]
        history[:, -1] = g

    def move() -> None:
        window.moved(pairs - 1)[:, -1] = g

    return {
        "two-loop, numpy": lambda: in_numpy(steps, changes, g[0]),
        "two-loop": lambda: two_loop(steps, changes, g, lambda x: x, rescaled=False),
        "store a pair, numpy": shift,
        "store a pair": move,
    }


def main() -> None:
    """Print the table."""
    print("| columns × pairs | what | ms |\n|---|---|---|")
    for width, pairs in SIZES:
        measured = functions(width, pairs)
        total = dict.fromkeys(measured, 0.0)
        for call in range(CALLS + PairWindow.SPARE + 1):
            for name, function in measured.items():
                begin = time.process_time()
                function()
                if call > PairWindow.SPARE:
                    total[name] += time.process_time() - begin
        for name, seconds in total.items():
            print(f"| {width:,} × {pairs} | {name} | {1e3 * seconds / CALLS:.3f} |")


if __name__ == "__main__":
    main()
