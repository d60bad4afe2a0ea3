"""Which algorithm: a cost model of seconds to the tolerance, from sizes alone.

Rates are of one core of a present machine and matter only in their ratios: 5e9 multiply-adds a second in products of
matrices, 1 ns for each stored number in a pass over the rows (2 ns sparse), 20 µs for an exchange and 1 ns for each
byte in it. Passes are those of measured runs: they grow with the digits asked for.

* newton: 2 rounds for a quadratic, else 5, each N·d² multiply-adds (sparse: the pairs in each row), a Cholesky factor
  d³/3, an exchange of d² numbers, and 3 passes for the line search and the steps that reuse the factor;
* lbfgs: 4 + 0.8 passes a digit where the curvature of a sample starts it (at most 2000 columns, a smooth penalty),
  with two such curvatures and inverses; else 40 passes a digit: conditioning decides, and ill is the rule;
* saga: 8 + 1.2 epochs a digit in the full metric, with three curvatures of all rows, else 6 + 4 epochs a digit; an
  epoch costs 2.5 evaluations, and an exchange of 2 d numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

MULTIPLY, NUMBER, SPARSE, LATENCY, BYTE = 0.2e-9, 1e-9, 2e-9, 20e-6, 1e-9


class Size(NamedTuple):
    """The numbers by which an algorithm is chosen."""

    rows: int  # N
    unknowns: int  # outputs · columns
    outputs: int
    numbers: int  # stored in the rows of all ranks
    sparse: bool
    ranks: int
    tol: float
    quadratic: bool  # a constant curvature and no l1
    smooth: bool  # no l1


def choose(size: Size, able: Collection[str]) -> tuple[str, str]:
    """Give the cheapest of the algorithms that are able, and one line that says why."""
    model = {"newton": newton, "saga": saga, "lbfgs": lbfgs}
    seconds = {name: model[name](size) for name in sorted(able) if name in model}
    best = min(seconds, key=seconds.__getitem__)
    listed = ", ".join(f"{name} {value:.2g} s" for name, value in seconds.items())
    return best, f"algorithm {best}, by the estimates {listed}"


def newton(size: Size) -> float:
    """Estimate the seconds of Newton's method."""
    rounds = 2 if size.quadratic else 5
    return rounds * (curvature(size, size.rows, size.unknowns) + 3 * evaluation(size))


def saga(size: Size) -> float:
    """Estimate the seconds of distributed SAGA."""
    epoch = 2.5 * evaluation(size) + exchange(size, 2 * size.unknowns)
    if not in_metric(size):
        return (6 + 4 * digits(size)) * epoch
    builds = 1 if size.quadratic else 3
    return (8 + 1.2 * digits(size)) * epoch + builds * curvature(size, size.rows, metric_size(size))


def lbfgs(size: Size) -> float:
    """Estimate the seconds of L-BFGS."""
    if not in_metric(size):
        return 40 * digits(size) * evaluation(size)
    sample = max(size.rows / 64, min(size.rows, 40 * size.unknowns))
    return (4 + 0.8 * digits(size)) * evaluation(size) + 2 * curvature(size, sample, metric_size(size))


def in_metric(size: Size) -> bool:
    """Say whether saga and lbfgs work in a full metric (mpiopt.metric)."""
    return size.smooth and size.unknowns / size.outputs <= 2000


def metric_size(size: Size) -> float:
    """Give the rows of the matrix of that metric: of all outputs together where it fits, else of one."""
    return size.unknowns if size.unknowns <= 2600 else size.unknowns / size.outputs


def curvature(size: Size, rows: float, matrix: float) -> float:
    """Seconds of the curvature of so many rows, its exchange, and the factor of the matrix."""
    columns, per_row = size.unknowns / size.outputs, size.numbers / max(size.rows, 1)
    pairs = SPARSE * per_row**2 if size.sparse and matrix == columns else MULTIPLY * columns**2
    blocks = (matrix / columns) * (matrix / columns + 1) / 2
    return rows * pairs * blocks / size.ranks + MULTIPLY * matrix**3 / 3 + exchange(size, matrix**2)


def evaluation(size: Size) -> float:
    """Seconds of one exact evaluation: a pass over the rows and an exchange of d numbers."""
    work = size.numbers * (SPARSE if size.sparse else NUMBER) + 5e-9 * size.rows
    return size.outputs * work / size.ranks + exchange(size, size.unknowns)


def exchange(size: Size, numbers: float) -> float:
    """Seconds of a sum of so many numbers over the ranks; none on one rank."""
    return 0.0 if size.ranks == 1 else LATENCY * math.log2(size.ranks) + 8 * BYTE * numbers


def digits(size: Size) -> float:
    """Decimal digits that the tolerance asks for."""
    return max(1.0, -math.log10(size.tol))
