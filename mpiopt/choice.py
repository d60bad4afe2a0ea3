"""Which algorithm: a cost model of seconds to the tolerance, from sizes alone.

Rates are of one core of a present machine and matter only in their ratios: 5e9 multiply-adds a second in products of
matrices, 1 ns for each stored number in a pass over the rows (2 ns sparse), 20 µs for an exchange and 1 ns for each
byte in it. Passes are those of measured runs: they grow with the digits asked for.

* newton: 2 rounds for a quadratic, else 5, each N·d² multiply-adds (sparse: the pairs in each row), a Cholesky factor
  d³/3, an exchange of d² numbers, and 3 passes for the line search and the steps that reuse the factor;
* saga: 4 + 1.7 passes a digit, each at 3 times the price of an evaluation, with 2 exchanges of d numbers;
* lbfgs: 40 passes a digit, each with an exchange of d numbers: conditioning decides, and ill is the rule.
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
    quadratic: bool


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
    columns = size.unknowns / size.outputs
    per_row = size.numbers / max(size.rows, 1)
    pairs = SPARSE * per_row**2 if size.sparse and size.outputs == 1 else MULTIPLY * columns**2
    products = size.rows * pairs * (size.outputs * (size.outputs + 1)) / 2 / size.ranks
    factor = MULTIPLY * size.unknowns**3 / 3
    return rounds * (products + factor + exchange(size, size.unknowns**2) + 3 * evaluation(size))


def saga(size: Size) -> float:
    """Estimate the seconds of distributed SAGA."""
    passes = 4 + 1.7 * digits(size)
    return passes * (3 * evaluation(size) + exchange(size, 2 * size.unknowns))


def lbfgs(size: Size) -> float:
    """Estimate the seconds of L-BFGS."""
    return 40 * digits(size) * evaluation(size)


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
