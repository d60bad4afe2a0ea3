"""Which algorithm: a cost model of seconds to the tolerance, from sizes alone.

Rates are of one core of a present machine (measured on AVX-512 at 2.5 GHz) and matter only in their ratios: a pass
over the rows costs 0.35 ns a stored number (5 ns sparse) and 10 ns a row; the curvature a pass and 0.03 ns a
multiply-add (sparse: 2 ns for each pair of nonzeros of a row); a factor 0.1 ns a multiply-add, an inverse three times
as much; an exchange 20 µs and 1 ns a byte. Counts are those of measured runs to 1e-6 and 1e-10:

* newton: 1 round for a quadratic, else 4 (6 with l1); each a curvature, d³/3 multiply-adds, an exchange of d²
  numbers and 3 passes;
* saga: 8 + 1.3 passes a digit where the common metric fits (2.5 curvatures for it), each at 3 times the price of an
  evaluation; else 5 + 2 a digit of sparse rows, 5 + 7 of dense ones, at 1.5 times;
* lbfgs with the curvature of a sample, where that fits and the penalty is smooth: 6 + 0.6 passes a digit and 1.5 such
  curvatures; without, 4 + 2 a digit of sparse rows (text: 16 to 1e-6), 4 + 8 of dense ones (1000 columns, condition
  100: 46 to 1e-5); it changes to the sample when it has spent as much as that costs. With l1 50 a digit.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

MULTIPLY, NUMBER, SPARSE, PAIR, ROW, LATENCY, BYTE = 0.03e-9, 0.35e-9, 5e-9, 2e-9, 10e-9, 20e-6, 1e-9
FACTOR, INVERSE = 0.1e-9, 0.3e-9
COUPLED = 2600  # unknowns up to which that matrix couples the outputs
METRIC = 2000  # columns up to which saga and lbfgs hold a matrix of curvature


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
    smooth: bool  # no l1


def choose(size: Size, able: Collection[str]) -> tuple[str, str]:
    """Give the cheapest of the algorithms that are able, and one line that says why."""
    model = {"newton": newton, "saga": saga, "lbfgs": lbfgs}
    seconds = {name: model[name](size) for name in sorted(able) if name in model}
    best = min(seconds, key=seconds.__getitem__)
    listed = ", ".join(f"{name} {value:.2g} s" for name, value in seconds.items())
    return best, f"algorithm {best}; estimated: {listed}"


def newton(size: Size) -> float:
    """Estimate the seconds of Newton's method."""
    across = (size.outputs + 1) / 2 * curvature(size)
    return newton_rounds(size) * (
        across + FACTOR * size.unknowns**3 / 3 + exchange(size, size.unknowns**2) + 3 * evaluation(size)
    )


def saga(size: Size) -> float:
    """Estimate the seconds of distributed SAGA."""
    if in_metric(size):
        return saga_epochs(size) * 3 * evaluation(size) + 2.5 * held_curvature(size)
    return saga_epochs(size) * 1.5 * evaluation(size)


def lbfgs(size: Size) -> float:
    """Estimate the seconds of L-BFGS."""
    plain = plain_passes(size) * evaluation(size)
    if not in_metric(size):
        return plain
    return min(plain, sampled_passes(size) * evaluation(size) + 1.5 * held_curvature(size))


def in_metric(size: Size) -> bool:
    """Say whether a matrix of curvature can be held and used."""
    return size.smooth and size.unknowns / size.outputs <= METRIC


def epochs(name: str, size: Size) -> float:
    """Give the passes over all rows that the algorithm takes to the tolerance, by the counts above."""
    if name == "newton":
        return 4.0 * newton_rounds(size)
    if name == "lbfgs":
        return sampled_passes(size) if in_metric(size) else plain_passes(size)
    return saga_epochs(size)


def newton_rounds(size: Size) -> int:
    """Rounds of Newton's method."""
    return (1 if size.quadratic else 4) if size.smooth else 6


def saga_epochs(size: Size) -> float:
    """Epochs of distributed SAGA."""
    if in_metric(size):
        return 8 + 1.3 * digits(size)
    return 5 + (2 if size.sparse else 7) * digits(size)


def plain_passes(size: Size) -> float:
    """Passes of L-BFGS without the curvature of a sample."""
    return 4 + (2 if size.sparse else 8) * digits(size) if size.smooth else 50 * digits(size)


def sampled_passes(size: Size) -> float:
    """Passes of L-BFGS with it."""
    return 6 + 0.6 * digits(size)


def evaluation(size: Size) -> float:
    """Seconds of one exact evaluation: a pass over the rows and an exchange of d numbers."""
    work = size.numbers * (SPARSE if size.sparse else NUMBER) + ROW * size.rows
    return size.outputs * work / size.ranks + exchange(size, size.unknowns)


def curvature(size: Size) -> float:
    """Seconds of the curvature for every output on its own."""
    if size.sparse:
        products = PAIR * size.numbers**2 / max(size.rows, 1)
    else:
        products = MULTIPLY * size.numbers * size.unknowns / size.outputs
    return size.outputs * products / size.ranks + evaluation(size)


def held_curvature(size: Size) -> float:
    """Seconds to make and invert the matrix that saga and lbfgs hold: for all outputs at once where that is small."""
    columns = size.unknowns / size.outputs
    if size.outputs > 1 and size.unknowns <= COUPLED:
        return (size.outputs + 1) / 2 * curvature(size) + INVERSE * size.unknowns**3
    return curvature(size) / size.outputs + INVERSE * columns**3


def exchange(size: Size, numbers: float) -> float:
    """Seconds of a sum of so many numbers over the ranks; none on one rank."""
    return 0.0 if size.ranks == 1 else LATENCY * math.log2(size.ranks) + 8 * BYTE * numbers


def digits(size: Size) -> float:
    """Decimal digits that the tolerance asks for."""
    return max(1.0, -math.log10(size.tol))
