"""Which algorithm: estimated seconds to the tolerance, from the sizes of the problem alone.

Seconds follow from two tables: the cost of each kind of work (`Costs`), and the number of passes of each algorithm to
a tolerance (`Passes`). Only the ratios matter, because the estimates are compared with each other.

* newton: rounds, each with one curvature, a factorisation of d³/3 multiply-adds, an exchange of d² numbers, and
  evaluations;
* saga: passes by the number of decimal digits, each a multiple of the cost of an evaluation, plus the preconditioner
  if it fits;
* lbfgs: the same, with or without the curvature of a sample of rows, which it takes when it has spent as much
  without it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from mpiopt.algorithms.preconditioner import LARGEST_COUPLED, LARGEST_WIDTH


@dataclass(frozen=True)
class Costs:
    """Seconds of each kind of work on one core, measured with AVX-512 at 2.5 GHz."""

    number: float = 0.35e-9  # a stored number of dense rows in a pass: bound by memory
    sparse_number: float = 5e-9  # a stored number of sparse rows in a pass: one random access
    row: float = 10e-9  # a row in a pass: loss, slope and loop
    multiply_add: float = 0.03e-9  # of a curvature of dense rows, by a matrix product
    pair: float = 2e-9  # a pair of nonzeros of one row, of a curvature of sparse rows
    factor: float = 0.1e-9  # a multiply-add of a Cholesky factorisation
    inverse: float = 0.3e-9  # a multiply-add of an inverse: three times a factorisation
    latency: float = 20e-6  # a message between two ranks
    byte: float = 1e-9  # a byte of an exchange


@dataclass(frozen=True)
class Passes:
    """Counts of work to a tolerance, from measured runs to 1e-6 and 1e-10."""

    newton_quadratic: int = 1  # rounds for a quadratic loss
    newton_smooth: int = 4  # rounds for another loss
    newton_l1: int = 6  # rounds with an l1 penalty
    newton_evaluations: int = 3  # in a round
    newton_round: float = 4.0  # passes over the rows in a round: evaluations and curvature
    saga_start: float = 8.0  # passes with the preconditioner: before the linear phase
    saga_digit: float = 1.3  # and for each decimal digit
    saga_pass: float = 3.0  # cost of such a pass, in evaluations
    saga_curvatures: float = 2.5  # curvatures that the preconditioner costs
    saga_plain_start: float = 5.0  # passes without it: before the linear phase
    saga_plain_sparse_digit: float = 2.0  # and for each digit, sparse rows
    saga_plain_dense_digit: float = 7.0  # and for each digit, dense rows
    saga_plain_pass: float = 1.5  # cost of such a pass, in evaluations
    lbfgs_sampled_start: float = 6.0  # passes with the curvature of a sample
    lbfgs_sampled_digit: float = 0.6  # and for each digit
    lbfgs_curvatures: float = 1.5  # curvatures that the sample costs
    lbfgs_start: float = 4.0  # passes without it
    lbfgs_sparse_digit: float = 2.0  # and for each digit, sparse rows (text: 16 passes to 1e-6)
    lbfgs_dense_digit: float = 8.0  # and for each digit, dense rows (1000 columns, condition 100: 46 to 1e-5)
    lbfgs_l1_digit: float = 50.0  # for each digit with an l1 penalty


COSTS = Costs()
PASSES = Passes()


class Size(NamedTuple):
    """The properties of a problem by which an algorithm is chosen."""

    rows: int  # N
    unknowns: int  # outputs · columns
    outputs: int
    numbers: int  # stored in the rows of all ranks
    sparse: bool
    ranks: int
    tol: float  # relative duality gap
    quadratic: bool  # loss
    smooth: bool  # no l1 penalty


def choose(size: Size, able: Collection[str]) -> tuple[str, str]:
    """Return the cheapest of the algorithms in `able`, and one line with all estimates."""
    model = {"newton": newton, "saga": saga, "lbfgs": lbfgs}
    seconds = {name: model[name](size) for name in sorted(able) if name in model}
    best = min(seconds, key=seconds.__getitem__)
    listed = ", ".join(f"{name} {value:.2g} s" for name, value in seconds.items())
    return best, f"algorithm {best}; estimated: {listed}"


def newton(size: Size) -> float:
    """Estimate the seconds of Newton's method."""
    all_outputs = (size.outputs + 1) / 2 * curvature(size)
    factorisation = COSTS.factor * size.unknowns**3 / 3
    evaluations = PASSES.newton_evaluations * evaluation(size)
    return newton_rounds(size) * (all_outputs + factorisation + exchange(size, size.unknowns**2) + evaluations)


def saga(size: Size) -> float:
    """Estimate the seconds of distributed SAGA."""
    if has_preconditioner(size):
        passes = saga_epochs(size) * PASSES.saga_pass * evaluation(size)
        return passes + PASSES.saga_curvatures * preconditioner(size)
    return saga_epochs(size) * PASSES.saga_plain_pass * evaluation(size)


def lbfgs(size: Size) -> float:
    """Estimate the seconds of L-BFGS."""
    plain = plain_passes(size) * evaluation(size)
    if not has_preconditioner(size):
        return plain
    return min(plain, sampled_passes(size) * evaluation(size) + PASSES.lbfgs_curvatures * preconditioner(size))


def has_preconditioner(size: Size) -> bool:
    """Return whether saga and lbfgs can store and use a matrix of curvature."""
    return size.smooth and size.unknowns / size.outputs <= LARGEST_WIDTH


def epochs(name: str, size: Size) -> float:
    """Return the passes over all rows that an algorithm needs to the tolerance."""
    if name == "newton":
        return PASSES.newton_round * newton_rounds(size)
    if name == "lbfgs":
        return sampled_passes(size) if has_preconditioner(size) else plain_passes(size)
    return saga_epochs(size)


def newton_rounds(size: Size) -> int:
    """Return the rounds of Newton's method."""
    if not size.smooth:
        return PASSES.newton_l1
    return PASSES.newton_quadratic if size.quadratic else PASSES.newton_smooth


def saga_epochs(size: Size) -> float:
    """Return the epochs of distributed SAGA."""
    if has_preconditioner(size):
        return PASSES.saga_start + PASSES.saga_digit * digits(size)
    digit = PASSES.saga_plain_sparse_digit if size.sparse else PASSES.saga_plain_dense_digit
    return PASSES.saga_plain_start + digit * digits(size)


def plain_passes(size: Size) -> float:
    """Return the passes of L-BFGS without the curvature of a sample."""
    if not size.smooth:
        return PASSES.lbfgs_l1_digit * digits(size)
    digit = PASSES.lbfgs_sparse_digit if size.sparse else PASSES.lbfgs_dense_digit
    return PASSES.lbfgs_start + digit * digits(size)


def sampled_passes(size: Size) -> float:
    """Return the passes of L-BFGS with the curvature of a sample."""
    return PASSES.lbfgs_sampled_start + PASSES.lbfgs_sampled_digit * digits(size)


def evaluation(size: Size) -> float:
    """Return the seconds of one exact evaluation: a pass over the rows and an exchange of d numbers."""
    work = size.numbers * (COSTS.sparse_number if size.sparse else COSTS.number) + COSTS.row * size.rows
    return size.outputs * work / size.ranks + exchange(size, size.unknowns)


def curvature(size: Size) -> float:
    """Return the seconds of the curvature, each output by itself."""
    if size.sparse:
        products = COSTS.pair * size.numbers**2 / max(size.rows, 1)
    else:
        products = COSTS.multiply_add * size.numbers * size.unknowns / size.outputs
    return size.outputs * products / size.ranks + evaluation(size)


def preconditioner(size: Size) -> float:
    """Return the seconds to compute and invert the matrix of saga and lbfgs: one for all outputs if it is small."""
    columns = size.unknowns / size.outputs
    if size.outputs > 1 and size.unknowns <= LARGEST_COUPLED:
        return (size.outputs + 1) / 2 * curvature(size) + COSTS.inverse * size.unknowns**3
    return curvature(size) / size.outputs + COSTS.inverse * columns**3


def exchange(size: Size, numbers: float) -> float:
    """Return the seconds of a sum of `numbers` float64 over the ranks; 0 on one rank."""
    return 0.0 if size.ranks == 1 else COSTS.latency * math.log2(size.ranks) + 8 * COSTS.byte * numbers


def digits(size: Size) -> float:
    """Return the decimal digits of the tolerance, at least 1."""
    return max(1.0, -math.log10(size.tol))
