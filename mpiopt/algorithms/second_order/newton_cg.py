"""Distributed inexact Newton: preconditioned conjugate gradients on Hessian products, and a line search on margins.

C.-J. Lin, R. C. Weng, S. S. Keerthi, Trust region Newton method for large-scale logistic regression, JMLR 9 (2008):
a product of the Hessian costs a pass over the rows and needs no matrix. C.-Y. Hsia, W.-L. Chiang, C.-J. Lin,
Preconditioned conjugate gradient methods in truncated Newton frameworks for large-scale linear classification, ACML
2018. J. Nocedal, S. Wright, Numerical Optimization (2006), algorithms 5.3 and 7.1. Conjugate gradients end by the
rule of S. G. Nash, A. Sofer, Oper. Res. Lett. 9 (1990), with a forcing as of S. C. Eisenstat, H. F. Walker, SIAM J.
Sci. Comput. 17 (1996).

Each product yields the margins of its direction too. So the margins of the step are known before it is made, and the
line search needs no pass over the rows; nor does the intercept, which is minimised exactly after each step.

Products may travel in 16 bits: they decide about the direction alone. Its margins, the step length, F and its
gradient are exact, and so is the certificate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import preconditioner, warm_start
from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.cost_model import COSTS
from mpiopt.algorithms.preconditioner import LARGEST_WIDTH, times
from mpiopt.algorithms.second_order.line_search import ROUNDING, move_to
from mpiopt.algorithms.second_order.margin_search import Length, Line, search_length
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Derived, Layout, NamedVector, PerRank, Replicated, Sharded, Slot
from mpiopt.data.shard import CsrRows
from mpiopt.kernels.conjugate_gradients import LANES, close_product, go_along, next_direction, products_by_lane
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.intercept import minimise_intercept
from mpiopt.objective.objective import Objective
from mpiopt.objective.row_hessians import RowHessians

Model = NDArray[np.float64]
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class NewtonCgTuning:
    """Constants of the method, found on half of the data sets that docs/explanation/design.md names."""

    largest_forcing: float = 0.7  # of the gradient's norm: the rest at which the first round ends
    slow_forcing: float = 0.1  # above it the forcing falls slowly from round to round: one lucky step proves little
    power: float = 1.618  # of the last forcing, the least that follows it then: the golden ratio, of the paper
    forcing: float = 1.0  # for each unit of the error in the slope that the model is expected to have
    of_diagonal: float = 2.0  # factor on that without a sample, one output: rounds cost little (classes: more with 2)
    least_forcing: float = 0.01  # of any round: nearer to the Newton step than the quadratic model is to F
    least_bend: float = 1e-10  # qᵀHq as a part of qᵀPq: less is rounding, or no curvature at all
    gram_passes: float = 1.0  # passes over the rows that the curvature of the sample may cost
    least_rows: int = 10  # rows of the sample for each unknown: with fewer its curvature is mostly noise
    dearest: float = 10.0  # passes: a sample of the least rows that costs more is not taken
    enough: float = 8.0  # N over the rows of the sample: with more rows it needs no correction by the diagonal


TUNING = NewtonCgTuning()
PRODUCT_STREAM = 26  # of the random numbers that compress products


class NewtonCgControl(NamedVector):
    """What the next step must know of the last one."""

    forcing = Slot(0)  # largest norm of the rest of the next round's equations, relative to that of the gradient
    made = Slot(1)  # 1 if there is a preconditioner
    sample_factor = Slot(2)  # N over the rows of the sample; 0: the preconditioner is a diagonal
    unrecorded = Slot(3)  # epochs spent before the first step


@dataclass
class NewtonCgState:
    """The iterate with its exact value and gradient, its margins, and where the preconditioner was made."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)
    gradient: Replicated  # (outputs, width) of the loss part
    margins: Sharded  # (n, outputs) W x_i, followed from step to step
    known: PerRank  # (1,) 1 if the margins are those of w; 0: not loaded
    anchor: Replicated  # (outputs, width) where the curvature of the sample was computed
    diagonal: Replicated  # (outputs, width) of the curvature over all rows there; 0 where the sample is enough
    control: Annotated[NewtonCgControl, Layout.REPLICATED]
    inverse: Derived  # P⁻¹, as `preconditioner.times` takes it


class Direction(NamedTuple):
    """An approximate Newton step."""

    p: Model  # (outputs, width), the same on all ranks
    line: Line  # what the search along it needs
    products: int
    norm: float  # gᵀP⁻¹g


@dataclass(frozen=True)
class NewtonCg(Algorithm[NewtonCgState]):
    """Distributed inexact Newton (truncated): one pass and one exchange of d numbers a product of the Hessian.

    w ← w + t p, H p ≈ -g by conjugate gradients preconditioned with P, t by a line search on the rows' margins.

    ======  ========  ====================================================================
    symbol  field     meaning
    ======  ========  ====================================================================
    w       w         model
    F(w)    value     objective
    –       gradient  gradient of the loss part; g = gradient + ridge · w
    z_i     margins   W x_i
    P       inverse   curvature of a sample of the rows and ridge, or the diagonal of all
    ======  ========  ====================================================================

    Parameters
    ----------
    products
        Products of the Hessian in a round, at most.
    sampled
        Whether P may be the curvature of a sample of the rows, if there are at most 2000 columns.

    References
    ----------
    C.-J. Lin, R. C. Weng, S. S. Keerthi, JMLR 9 (2008); C.-Y. Hsia, W.-L. Chiang, C.-J. Lin, ACML 2018; J. Nocedal,
    S. Wright, Numerical Optimization (2006), algorithm 7.1.
    """

    name: ClassVar[str] = "newton-cg"
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty"})
    compressed_memory: ClassVar[str] = "none"
    largest_variance: ClassVar[float] = 1e-4  # 16 bits: an error of a hundredth is the nearest that a step is solved
    products: int = 100
    sampled: bool = True

    def __post_init__(self) -> None:
        at_least("newton-cg: products", self.products, 1)

    def blank(self, objective: Objective, size: int) -> NewtonCgState:
        """Return a state at w = 0 without an evaluation."""
        w, control = objective.zeros(), NewtonCgControl.zeros()
        control.forcing = TUNING.least_forcing if objective.loss.quadratic else TUNING.largest_forcing
        margins = np.zeros((len(objective.shard), objective.outputs))
        return NewtonCgState(w, np.zeros(1), w.copy(), margins, np.zeros(1), w.copy(), w.copy(), control, None)

    def init(self, objective: Objective, channel: Channel) -> NewtonCgState:
        """Start at the optimum on a part of the rows, or at the origin; never above F there."""
        start = warm_start.begin(self, objective, channel)
        state = self.go_on(start.w, start.exact, objective, channel)
        state.control.unrecorded = start.epochs + float(not np.array_equal(start.w, objective.origin()))
        return state

    def go_on(self, w: Model, exact: Evaluation, objective: Objective, channel: Channel) -> NewtonCgState:
        """Begin at w; its margins cost a pass."""
        state = self.blank(objective, channel.size)
        move_to(state, w, exact)
        state.margins[...] = objective.predict(w)
        state.known[0] = state.control.unrecorded = 1.0
        self._choose_sample(state, objective, channel)
        return state

    def rebuild(self, state: NewtonCgState, objective: Objective, channel: Channel) -> None:
        """Make the preconditioner at the anchor again; on another number of ranks the margins, too."""
        if not state.known[0]:
            state.margins[...] = objective.predict(state.w)
            state.known[0] = 1.0
        if state.control.made:
            self._invert(state, objective, channel)

    # ---- One round

    def step(self, k: int, state: NewtonCgState, objective: Objective, channel: Channel) -> StepInfo:
        """Find an approximate Newton step, go along it to where F is least, and minimise over the intercept."""
        control, hessians = state.control, RowHessians.at(objective, state.margins)
        epochs = control.unrecorded + self._precondition(state, hessians, objective, channel)
        found = self._direction(k, state, hessians, objective, channel)
        length = search_length(found.line, objective, channel)
        epochs += found.products + 1.0
        control.unrecorded = 0.0
        w, margins = state.w + length.t * found.p, state.margins + length.t * found.line.along
        if objective.shard.intercept:
            shard = objective.shard
            s = shard.weight / shard.total
            shift = minimise_intercept(objective.loss, margins, shard.label, s, channel)
            w[:, objective.shard.features] += shift
            margins += shift
        exact = evaluate_exact(objective, w, channel)
        if exact.value <= float(state.value[0]) + ROUNDING * abs(float(state.value[0])):
            move_to(state, w, exact)
            state.margins[...] = margins
            control.forcing = self._next_forcing(state, found, length, objective, channel)
            return StepInfo(epochs, length.t, exact)
        state.margins[...] = objective.predict(state.w)  # rounding in the margins: stay, and go on with exact ones
        return StepInfo(epochs + 1.0, 0.0, Evaluation(float(state.value[0]), state.gradient.copy()))

    def _direction(
        self, k: int, state: NewtonCgState, hessians: RowHessians, objective: Objective, channel: Channel
    ) -> Direction:
        """Solve H p = -g by conjugate gradients until the rest or the last gain is small; collective.

        What decides about the end is the same on all ranks, even where processors round differently: it comes from
        exchanges, or where P is a diagonal from arithmetic that rounds alike everywhere. So a product costs one
        exchange then, and two otherwise. The direction itself is rank 0's.
        """
        first, ridge, g = channel.rank == 0, objective.ridge, state.gradient + objective.ridge * state.w
        p, along, gained, r = np.zeros_like(g), np.zeros_like(state.margins), 0.0, -g
        q = times(state.inverse, r)
        norm = rz = _agreed_product(r, q, state.inverse, channel)
        forcing, size = state.control.forcing, norm
        for j in range(1, self.products + 1):
            product = hessians.product(q)
            joined = np.empty(q.size + 1)
            close_product(product.share, ridge if first else np.zeros_like(ridge), q, joined)
            hq, bend = _sum_of_products(joined, q, k * self.products + j, channel)
            if not bend > TUNING.least_bend * size:  # no curvature along q: the line search finds how far to go
                if j == 1:
                    p, along = q, product.margins
                break
            length = rz / bend
            go_along(p.reshape(-1), r.reshape(-1), q.reshape(-1), hq, length)
            along += length * product.margins
            z = times(state.inverse, r)
            before, rz = rz, _agreed_product(r, z, state.inverse, channel)
            gain = 0.5 * length * before
            gained += gain
            if j * gain <= forcing**2 * gained or rz <= forcing**2 * norm:
                break
            next_direction(q.reshape(-1), z.reshape(-1), rz / before)
            size = rz + (rz / before) ** 2 * size  # qᵀPq
        w = state.w
        numbers = [float(x.sum()) for x in (g * p, ridge * w * w, ridge * w * p, ridge * p * p)]
        agreed = channel.sum(p if first else np.zeros_like(p), np.array(numbers if first else [0.0] * 4))
        line = Line(state.margins, along, float(state.value[0]), *(float(x) for x in agreed[-4:]))
        return Direction(agreed[:-4].reshape(p.shape), line, j, norm)

    def _next_forcing(
        self, state: NewtonCgState, found: Direction, length: Length, objective: Objective, channel: Channel
    ) -> float:
        """Return how nearly to solve for the next step: as nearly as the quadratic model will be right there.

        Along p the model foretold the slope (1 - t) g·p. Its error, relative to the slope at the start, grows with
        the step; so that of the next one is smaller by the ratio of the gradients. That of a quadratic loss is
        exact from the first round on: to solve it in several rounds would only lose the conjugate directions.
        """
        if objective.loss.quadratic:
            return TUNING.least_forcing
        g, start = state.gradient + objective.ridge * state.w, found.line.slope
        size = float((g * times(state.inverse, g)).sum()) if channel.rank == 0 else 0.0
        ratio = max(float(channel.sum(size)[0]), 0.0) / found.norm if found.norm > 0.0 else 0.0
        error = abs(length.slope / start - (1.0 - length.t)) if start < 0.0 else 1.0
        unit = TUNING.forcing * (1.0 if state.control.sample_factor or objective.outputs > 1 else TUNING.of_diagonal)
        forcing, slowly = unit * error * math.sqrt(ratio), state.control.forcing**TUNING.power
        if slowly > TUNING.slow_forcing:
            forcing = max(forcing, slowly)
        return min(TUNING.largest_forcing, max(TUNING.least_forcing, forcing))

    # ---- The preconditioner

    def _choose_sample(self, state: NewtonCgState, objective: Objective, channel: Channel) -> None:
        """Choose how many rows the sample has; collective.

        As many as cost about a pass, `least_rows` for each unknown at least; none if these cost more than they save.
        """
        control, shard, outputs = state.control, objective.shard, objective.outputs
        used, coupled = used_columns(objective), outputs == 1 or preconditioner.is_coupled(objective)
        if not self.sampled or used > LARGEST_WIDTH:
            return
        size, blocks = (outputs * used, 1) if coupled else (used, outputs)
        numbers = float(channel.sum(float(shard.rows.values.size))[0]) / shard.total  # in a row
        sparse = isinstance(shard.rows, CsrRows)
        one_pass = outputs * (numbers * (COSTS.sparse_number if sparse else COSTS.number) + COSTS.row) * shard.total
        row = blocks * COSTS.multiply_add * size**2
        if sparse:
            row = min(row, blocks * (size / used) ** 2 * COSTS.pair * numbers**2)
        inverse = blocks * COSTS.inverse * size**3
        rows = min(float(shard.total), max(TUNING.least_rows * size, TUNING.gram_passes * one_pass / row))
        if rows * row + inverse <= TUNING.dearest * one_pass:
            control.sample_factor = max(1.0, shard.total // rows)

    def _precondition(
        self, state: NewtonCgState, hessians: RowHessians, objective: Objective, channel: Channel
    ) -> float:
        """Make the preconditioner at w, once if the curvature is constant; return the epochs; collective."""
        control = state.control
        if objective.loss.quadratic and control.made:
            return 0.0
        state.anchor[...] = state.w
        state.diagonal[...] = 0.0
        epochs = 1.0 / control.sample_factor if control.sample_factor else 0.0
        if not 0.0 < control.sample_factor <= TUNING.enough:
            state.diagonal[...] = channel.sum(hessians.diagonal()).reshape(state.w.shape)
            epochs += 1.0
        self._invert(state, objective, channel)
        control.made = 1.0
        return epochs

    def _invert(self, state: NewtonCgState, objective: Objective, channel: Channel) -> None:
        """Compute P⁻¹ from the anchor and the diagonal; collective."""
        factor = int(state.control.sample_factor)
        if factor:
            part = objective if factor == 1 else warm_start.first_rows(objective, channel, factor) or objective
            if factor <= TUNING.enough:
                state.inverse = preconditioner.inverse_curvature(part, state.anchor, channel).inverse
            else:
                state.inverse = preconditioner.corrected_inverse(part, state.anchor, state.diagonal, channel)
            return
        state.inverse = 1.0 / preconditioner.positive(state.diagonal + objective.ridge)


def _sum_of_products(joined: Vector, q: Model, number: int, channel: Channel) -> tuple[Vector, float]:
    """Return H q, flat, and qᵀHq from the ranks' shares with their products, the same on all ranks; collective."""
    if channel.compresses:
        hq = channel.compress(joined[:-1], number, PRODUCT_STREAM).total
        return hq, product_alike(q, hq)
    total = channel.sum(joined)
    return total[:-1], float(total[-1])


def _agreed_product(r: Model, z: Model, inverse: Matrix, channel: Channel) -> float:
    """Return r·z, z = P⁻¹ r, the same on all ranks: rank 0's, in an exchange unless P is a diagonal; collective."""
    if inverse.ndim == 2:
        return product_alike(r, z)
    return float(channel.of_root((r * z).sum())[0])


def product_alike(r: Model, z: Model) -> float:
    """Return r·z with the same bits on every processor: in an order that does not depend on its vector units."""
    sums = np.empty(2 * LANES)
    products_by_lane(r.reshape(-1), z.reshape(-1), sums)
    return math.fsum(sums.tolist())
