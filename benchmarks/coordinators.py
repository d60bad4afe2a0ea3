"""Errors and costs of the coordinators over the number of ranks: python -m benchmarks.coordinators.

The graphs are random and directed (random-k, k = 3); each rank has 20 standard normal numbers, whose mean is
computed. Errors are relative to the largest number of any rank. "hankel, unguarded" is the textbook form without its
fallback; "stated" is the error that the coordinator estimates when it learns the graph.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from statistics import median
from typing import NamedTuple

import numpy as np

from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.simulated import Simulation
from mpiopt.consensus.topologies.base import Topology

FORMS = {
    "flooding": ("flooding", {}),
    "finite-field": ("finite-field", {}),
    "hankel, unguarded": ("hankel", {"tolerance": 1e300}),
    "hankel": ("hankel", {}),
    "ratio": ("ratio", {}),
    "quantised": ("quantised", {}),
}
SIZES = (3, 5, 8, 10, 12, 15, 20, 40, 64)
NUMBERS = 20


class CoordinatorFigures(NamedTuple):
    """One coordinator on graphs of one size."""

    median: float
    worst: float
    stated: float  # largest
    rounds: int  # median
    to_learn: int  # rounds, median
    nbytes: int  # sent along one edge for one number, median
    fallbacks: int  # runs that fell back to another coordinator


def measured(form: str, size: int, runs: int) -> CoordinatorFigures:
    """Measure one coordinator on `runs` graphs."""
    name, options = FORMS[form]
    errors, stated, rounds, learn, sent, fallbacks = [], [], [], [], [], 0
    for seed in range(runs):
        graph = Topology.make("random-k", {"k": 3, "seed": seed}).graph(size)
        simulation = Simulation(Coordinator.make(name, options), graph, seed)
        xs = np.random.default_rng(seed).standard_normal((size, NUMBERS))
        found = simulation.mean(list(xs))[0]
        errors.append(float(np.max(np.abs(found.value - _exact(xs))) / np.abs(xs).max()))
        stated.append(found.error)
        rounds.append(found.rounds)
        learn.append(simulation.rounds_to_learn)
        sent.append(found.bytes_sent / len(graph.outgoing[0]) / NUMBERS)
        fallbacks += found.by != name
    return CoordinatorFigures(
        median(errors),
        max(errors),
        max(stated),
        int(median(rounds)),
        int(median(learn)),
        int(median(sent)),
        fallbacks,
    )


def _exact(xs: np.ndarray) -> np.ndarray:
    return np.array([float(sum(map(Fraction, column)) / len(column)) for column in xs.T.tolist()])


def table(sizes: Sequence[int] = SIZES, runs: int = 10) -> str:
    """Return the table as Markdown."""
    heads = "ranks | coordinator | error: median | worst | stated | rounds | to learn | bytes/number·edge | fallbacks"
    lines = [f"| {heads} |", "|---|---|---|---|---|---|---|---|---|"]
    for size in sizes:
        for form in FORMS:
            it = measured(form, size, runs)
            errors = " | ".join(f"{e:.0e}" if e else "0" for e in it[:3])
            fallbacks = f"{it.fallbacks} of {runs}" if it.fallbacks else ""
            lines.append(f"| {size} | {form} | {errors} | {it.rounds} | {it.to_learn} | {it.nbytes} | {fallbacks} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(runs=int(sys.argv[1]) if len(sys.argv) > 1 else 10))
