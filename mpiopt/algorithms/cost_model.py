"""Which algorithm begins: estimated seconds to the tolerance, from the sizes of the problem alone.

Seconds follow from two tables: the cost of each kind of work (`Costs`), and the number of passes of each algorithm to
a tolerance (`Passes`). Only the ratios matter, because the estimates are compared with each other. What sizes do not
tell, the run itself does: `mpiopt.algorithms.portfolio`.

* newton: rounds, each with one curvature, a factorisation of d³/3 multiply-adds (with l1 of the support), an exchange
  of d² numbers, and evaluations; more of them where it begins far from the optimum;
* saga: passes by the number of decimal digits, each a multiple of the cost of an evaluation, plus the preconditioner
  if it fits;
* lbfgs: the same, with or without the curvature of a sample of rows, which it takes when it has spent as much
  without it; each step also reads the pairs;
* working-set (l1 only): rounds over all columns, and steps as newton's in the few columns of a set.
* newton-cg: passes by the number of digits; without the curvature of a sample also by the condition.

Without a matrix of curvature, the number of passes depends on the condition κ = bound · mean ‖x‖²/l2 as theory says:
L-BFGS and conjugate gradients need √κ of them, SAGA κ/N. Text of unit rows has a small κ, raw counts a large one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
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
    history: float = 2.6e-9  # a number of the steps of L-BFGS, in a step: read twice, and so are the changes
    latency: float = 20e-6  # a message between two ranks
    byte: float = 1e-9  # a byte of an exchange


@dataclass(frozen=True)
class Passes:
    """Counts of work to a tolerance, from measured runs to 1e-6 and 1e-10."""

    newton_quadratic: int = 1  # rounds for a quadratic loss
    newton_l1: int = 1  # more rounds with an l1 penalty
    newton_near: float = 0.25  # certificate from which the convergence is quadratic
    newton_digits: float = 0.6  # of the certificate in a round before
    newton_evaluations: float = 1.5  # in a round
    newton_round: float = 2.5  # passes over the rows in a round: evaluations and curvature
    saga_start: float = 8.0  # passes with the preconditioner: before the linear phase
    saga_digit: float = 1.3  # and for each decimal digit
    saga_pass: float = 3.0  # cost of such a pass, in evaluations
    saga_curvatures: float = 2.5  # curvatures that the preconditioner costs
    saga_plain_start: float = 5.0  # passes without it: before the linear phase
    saga_plain_sparse_digit: float = 2.0  # and for each digit, sparse rows
    saga_plain_dense_digit: float = 7.0  # and for each digit, dense rows
    saga_l1_digit: float = 16.0  # and for each digit of the certificate with an l1 penalty (1e-9: 35 to 330)
    saga_plain_pass: float = 1.7  # cost of such a pass, in evaluations
    lbfgs_pairs: float = 40.0  # in use at most
    lbfgs_sampled_start: float = 6.0  # passes with the curvature of a sample
    lbfgs_sampled_digit: float = 1.0  # and for each digit
    lbfgs_curvatures: float = 1.5  # curvatures that the sample costs
    lbfgs_start: float = 4.0  # passes without it
    lbfgs_sparse_digit: float = 2.0  # and for each digit, sparse rows (text: 16 passes to 1e-6)
    lbfgs_dense_digit: float = 8.0  # and for each digit, dense rows (1000 columns, condition 100: 46 to 1e-5)
    lbfgs_l1_digit: float = 20.0  # for each digit with an l1 penalty
    set_size: int = 200  # unknowns in a working set with one output
    set_part: float = 0.6  # of all unknowns at most: twice the support
    l1_factors: float = 3.0  # factorisations of a matrix with l1, each on a support (a lasso: 5 of 2 matrices)
    set_rounds: float = 4.0  # over all columns
    set_round: float = 1.5  # passes over the rows in a round: evaluation and search for the columns
    set_steps: float = 6.0  # in sets, each with an evaluation there and, unless the loss is quadratic, a curvature
    lbfgs_root: float = 0.05  # for each digit and √κ, without the sample (raw counts: 130 to 349 to 1e-6 at √κ = 400)
    lbfgs_renewed: float = 0.7  # factor on that where the columns' curvature is renewed (31 for 42 on two sets)
    saga_condition: float = 2.3  # for each digit and κ/N, without the preconditioner: ln 10
    newton_cg_sampled_start: float = 6.0  # passes with the curvature of a sample
    newton_cg_sampled_digit: float = 1.5  # and for each digit
    newton_cg_start: float = 15.0  # passes without it (unit rows of text: 24 to 1e-6)
    newton_cg_digit: float = 1.5  # and for each digit
    newton_cg_root: float = 0.04  # and for each digit and √κ (raw counts: 87 to 250 to 1e-6)
    most_digit: float = 25.0  # passes for a digit at most, with any κ (raw counts and images: 15 to 24)
    rough_hinge: float = 5.0  # where loss'' jumps to 0 at a margin (1 to 100 on 12 sets): rows cross it, and return
    rough_unbounded: float = 2.0  # where loss'' has no bound: e^z of Poisson's loss and its kin
    newton_knee: float = 2.0  # factor on newton's rounds with l1: the knee is narrowed step by step
    newton_cg_classes: float = 2.0  # factor on the passes with several outputs
    newton_cg_rounds: int = 6  # each of which makes the curvature of the sample anew
    newton_cg_dearest: float = 10.0  # passes: a sample that costs more is not taken


COSTS = Costs()
PASSES = Passes()
PROBE = 4.0  # epochs that show whether L-BFGS is fast with l1, which no size tells
PROBE_SHARE = 0.18  # of the seconds of the best other one: what these may cost (above, they were mostly lost)
ALIKE = 1.5  # times the least estimate: a smaller difference says little
USUAL = 2  # ranks on which algorithms are compared: latency there stands for what a call costs on one rank, too
PRICES = 4.0  # between two prices of an exchange that are told apart: a smaller difference says little
LISTED = 2  # estimates in the line that says what was chosen: more do not fit in 80 columns


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
    smooth: bool  # neither l1 nor bounds
    condition: float = 0.0  # κ = bound · mean ‖x‖²/l2; 0: not known, or no bound
    start: float = 1.0  # certificate where the algorithm begins
    knee: bool = False  # loss is linear beyond one, as Huber's
    rough: float = 1.0  # factor on the passes of methods whose steps are not exact: see `Passes`
    latency: float = COSTS.latency  # as in `Costs`
    byte: float = COSTS.byte

    def with_link(self, latency: float, byte: float) -> Size:
        """Return the size with the seconds of a message and of a byte of this network, where they are dearer.

        They are rounded to `COSTS` times a power of `PRICES`: two measurements of one network mostly agree then, and
        with them the choices of two runs.
        """
        return self._replace(
            latency=COSTS.latency * _rounded(latency / COSTS.latency), byte=COSTS.byte * _rounded(byte / COSTS.byte)
        )


def _rounded(ratio: float) -> float:
    """Return the nearest power of `PRICES`, at least 1."""
    return PRICES ** max(0, round(math.log(ratio, PRICES))) if ratio > 0.0 else 1.0


def choose(size: Size, able: Collection[str]) -> tuple[str, str]:
    """Return the cheapest of the algorithms in `able`, and one line with the estimates of the cheapest.

    Where the estimates of several are alike, that one is taken which is the cheapest on `USUAL` ranks, so that the
    number of epochs does not depend on the number of ranks.
    """
    model, usual = models(), size._replace(ranks=USUAL)
    seconds = {name: model[name](size) for name in suitable(size, able)}
    there = {name: model[name](usual) for name in seconds}
    least = min(seconds.values())
    cheapest = sorted(seconds, key=lambda name: (seconds[name] > ALIKE * least, there[name]))
    if "lbfgs" in seconds and is_worth_a_try(usual, there[cheapest[0]]):
        cheapest.remove("lbfgs")
        cheapest.insert(0, "lbfgs")
    listed = ", ".join(f"{name} {seconds[name]:.2g} s" for name in cheapest[:LISTED])
    return cheapest[0], f"algorithm {cheapest[0]}; estimated: {listed}"


def suitable(size: Size, able: Collection[str]) -> list[str]:
    """Return those of the algorithms in `able` that have an estimate for the penalty."""
    return sorted(models().keys() & set(able) - {"working-set" if size.smooth else "newton-cg"})


def models() -> dict[str, Callable[[Size], float]]:
    """Return the algorithms among which `choose` chooses, with their estimates."""
    return {"newton": newton, "saga": saga, "lbfgs": lbfgs, "newton-cg": newton_cg, "working-set": working_set}


def newton(size: Size) -> float:
    """Estimate the seconds of Newton's method."""
    all_outputs = (size.outputs + 1) / 2 * curvature(size)
    factorisation = COSTS.factor * size.unknowns**3 / 3 if size.smooth else factorisations(size)
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
    plain = plain_passes(size) * lbfgs_step(size, plain_passes(size))
    if not has_preconditioner(size):
        return plain
    passes = sampled_passes(size)
    return min(plain, passes * lbfgs_step(size, passes) + PASSES.lbfgs_curvatures * preconditioner(size))


def lbfgs_step(size: Size, steps: float) -> float:
    """Estimate the seconds of one of so many steps of L-BFGS without a sample: an evaluation and the pairs."""
    most = PASSES.lbfgs_pairs
    in_use = steps / 2.0 if steps <= most else most * (1.0 - most / (2.0 * steps))  # on average
    return evaluation(size) + COSTS.history * in_use * size.unknowns


def is_worth_a_try(size: Size, best: float) -> bool:
    """Return whether L-BFGS may begin with l1 where another one takes `best` seconds: see `PROBE`.

    Only where a working set may hold all columns afterwards.
    """
    small = size.outputs == 1 and size.unknowns <= 2 * set_size(size)
    fits = not (size.smooth or size.quadratic or size.rough > 1.0) and small
    return fits and PROBE * lbfgs_step(size, PROBE) <= PROBE_SHARE * best


def working_set(size: Size) -> float:
    """Estimate the seconds of proximal Newton on a working set, with an l1 penalty."""
    inside = set_size(size)
    small = size._replace(numbers=int(set_share(size) * size.numbers), unknowns=inside)
    matrix = curvature(small) + exchange(size, inside**2 / 2) + factorisations(size)
    matrices = PASSES.set_rounds if size.quadratic else PASSES.set_steps
    passes = PASSES.set_rounds * PASSES.set_round * evaluation(size) + PASSES.set_steps * evaluation(small)
    return passes + matrices * matrix


def set_share(size: Size) -> float:
    """Return the part of the stored numbers that lies in a working set; sparse sets hold the popular columns."""
    part = set_size(size) / size.unknowns
    return math.sqrt(part) if size.sparse else min(1.0, part * size.outputs)


def set_size(size: Size) -> int:
    """Return the unknowns in a working set: with more outputs there are fewer for each."""
    return math.ceil(min(PASSES.set_part * size.unknowns, PASSES.set_size * math.sqrt(size.outputs)))


def factorisations(size: Size) -> float:
    """Estimate the seconds to factor a matrix with l1, on the support alone: half of a working set."""
    return PASSES.l1_factors * COSTS.factor * (0.5 * set_size(size)) ** 3 / 3


def newton_cg(size: Size) -> float:
    """Estimate the seconds of Newton's method by conjugate gradients."""
    sample = newton_cg_sample(size)
    samples = PASSES.newton_cg_rounds * sample if math.isfinite(sample) else 0.0
    return (newton_cg_passes(size) + samples) * evaluation(size)


def has_preconditioner(size: Size) -> bool:
    """Return whether saga and lbfgs can store and use a matrix of curvature."""
    return size.smooth and size.unknowns / size.outputs <= LARGEST_WIDTH


def epochs(name: str, size: Size) -> float:
    """Return the passes over all rows that an algorithm needs to the tolerance."""
    if name == "newton":
        return PASSES.newton_round * newton_rounds(size)
    if name == "lbfgs":
        return sampled_passes(size) if has_preconditioner(size) else plain_passes(size)
    if name == "working-set":
        return PASSES.set_rounds * PASSES.set_round + 2 * PASSES.set_steps * set_share(size)
    if name == "newton-cg":
        return newton_cg_passes(size)
    return saga_epochs(size)


def epoch_seconds(name: str, size: Size) -> float:
    """Estimate the seconds of one more epoch, without what is done at the start only."""
    if name == "lbfgs":
        return lbfgs_step(size, epochs(name, size))
    if name == "saga":
        return (PASSES.saga_pass if has_preconditioner(size) else PASSES.saga_plain_pass) * evaluation(size)
    return models()[name](size) / epochs(name, size)


def newton_rounds(size: Size) -> int:
    """Return the rounds of Newton's method: some to come near, then each squares the certificate."""
    if size.quadratic:
        return PASSES.newton_quadratic
    far = math.ceil(max(0.0, math.log10(size.start / PASSES.newton_near)) / PASSES.newton_digits)
    begin, end = min(size.start, PASSES.newton_near), min(size.tol, 0.5 * PASSES.newton_near)
    near = max(1, round(math.log2(max(1.0, math.log(end) / math.log(begin)))))
    near += 0 if size.smooth else PASSES.newton_l1
    return math.ceil((PASSES.newton_knee if size.knee and not size.smooth else 1.0) * (near + far))


def saga_epochs(size: Size) -> float:
    """Return the epochs of distributed SAGA."""
    if has_preconditioner(size):
        return roughness(size) * (PASSES.saga_start + PASSES.saga_digit * digits(size))
    digit = PASSES.saga_plain_sparse_digit if size.sparse else PASSES.saga_plain_dense_digit
    digit = digit if size.smooth else PASSES.saga_l1_digit
    digit += PASSES.saga_condition * size.condition / max(size.rows, 1)
    return PASSES.saga_plain_start + digit * digits(size)


def plain_passes(size: Size) -> float:
    """Return the passes of L-BFGS without the curvature of a sample."""
    if not size.smooth:
        return PASSES.lbfgs_l1_digit * digits(size)
    digit = PASSES.lbfgs_sparse_digit if size.sparse else PASSES.lbfgs_dense_digit
    root = PASSES.lbfgs_root * (PASSES.lbfgs_renewed if is_renewed(size) else 1.0) * math.sqrt(size.condition)
    root = min(PASSES.most_digit, root)
    return roughness(size) * (PASSES.lbfgs_start + max(digit, root) * digits(size))


def is_renewed(size: Size) -> bool:
    """Return whether L-BFGS renews the curvature of each column: they are too many for that of a sample."""
    return size.smooth and not size.quadratic and size.unknowns / size.outputs > LARGEST_WIDTH


def newton_cg_passes(size: Size) -> float:
    """Return the passes of Newton's method by conjugate gradients."""
    factor = roughness(size) * (PASSES.newton_cg_classes if size.outputs > 1 else 1.0)
    if math.isfinite(newton_cg_sample(size)):
        return factor * (PASSES.newton_cg_sampled_start + PASSES.newton_cg_sampled_digit * digits(size))
    digit = PASSES.newton_cg_digit + PASSES.newton_cg_root * math.sqrt(size.condition)
    least = 0.0 if size.sparse else PASSES.lbfgs_dense_digit
    return factor * (PASSES.newton_cg_start + min(PASSES.most_digit, max(digit, least)) * digits(size))


def newton_cg_sample(size: Size) -> float:
    """Return the passes that the curvature of its sample costs; inf if none is taken."""
    if not has_preconditioner(size):
        return math.inf
    coupled = size.outputs > 1 and size.unknowns <= LARGEST_COUPLED
    columns = size.unknowns if coupled else size.unknowns / size.outputs  # of a matrix
    whole = curvature(size) * ((size.outputs + 1) / 2 if coupled else 1.0)
    rows = min(1.0, max(evaluation(size) / whole, 10.0 * columns / max(size.rows, 1)))
    work = rows * whole + COSTS.inverse * columns**3 * (1 if coupled else size.outputs)
    passes = work / evaluation(size)
    return passes if passes <= PASSES.newton_cg_dearest else math.inf


def sampled_passes(size: Size) -> float:
    """Return the passes of L-BFGS with the curvature of a sample."""
    return roughness(size) * (PASSES.lbfgs_sampled_start + PASSES.lbfgs_sampled_digit * digits(size))


def roughness(size: Size) -> float:
    """Return the factor on passes of methods whose steps are not exact; with l1 it was not seen."""
    return size.rough if size.smooth else 1.0


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
    return 0.0 if size.ranks == 1 else size.latency * math.log2(size.ranks) + 8 * size.byte * numbers


def digits(size: Size) -> float:
    """Return the decimal digits from the first certificate to the tolerance, at least 1."""
    return max(1.0, math.log10(size.start / size.tol))
