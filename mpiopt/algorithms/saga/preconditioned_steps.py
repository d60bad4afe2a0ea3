"""Local work in the common metric: blocks of rows, steps η P⁻¹ v, the others' curvature modelled (metric.py)."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.algorithms import preconditioner
from mpiopt.algorithms.saga.exchange import start_over
from mpiopt.algorithms.saga.options import SagaOptions, fixed_of
from mpiopt.algorithms.saga.state import (
    DAMPING,
    DECREMENT,
    GREW,
    MIX,
    ORDER_STREAM,
    REST,
    ROUND,
    SCALE,
    SLOW,
    VISITED,
    WAIT,
    ExchangeState,
    SagaState,
    mixed,
    rows_from,
    upcoming,
)
from mpiopt.compress.channel import Channel
from mpiopt.compress.whitening import Coordinates
from mpiopt.core import rng
from mpiopt.data.shard import DenseRows, Vector
from mpiopt.kernels.polling import Integers, Poll, paced
from mpiopt.kernels.saga_preconditioned import blocks_csr, blocks_dense
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective

TINY = 1e-300  # where the gradient has become exactly zero
MOVE = 4.0  # q: local Newton steps that an epoch of blocks amounts to
OWN_SHARE = 0.25  # largest θ, see DESIGN.md
HARDLY = 0.7  # a refresh period that left more of the decrement than this is worth a metric of many bytes


@dataclass
class PreconditionedSteps:
    """Blocks of rows, steps η P⁻¹ v, with the model of the others' curvature; η = min(1, q scale / blocks)."""

    preconditioner: preconditioner.Preconditioner
    own_share: float
    block: int
    refresh: float
    seed: int
    fixed: float  # η by hand; 0: chosen

    @classmethod
    def at(
        cls, options: SagaOptions, state: SagaState, objective: Objective, channel: Channel
    ) -> PreconditionedSteps:
        """Make the metric at `state.anchor` and choose block, round and refresh."""
        rows = len(objective.shard)
        block = options.batch or block_size(rows, objective.width)
        refresh = 2.0 if options.refresh < 0.0 else options.refresh
        exact_metric = objective.outputs == 1 or preconditioner.coupled(objective)
        own_share = OWN_SHARE if exact_metric else 1.0
        made = preconditioner.build(objective, state.anchor, channel, own_share, float(state.control[DAMPING]))
        return cls(made, own_share, block, refresh, channel.seed, fixed_of(options.step_size))

    def eta(self, blocks: int, scale: float) -> float:
        """Give η for a rank of so many blocks."""
        return scale * self.fixed if self.fixed else min(1.0, MOVE * scale / max(1, blocks))

    def step_size(self, state: SagaState) -> float:
        """Give q·scale, the Newton steps that an epoch amounts to (or the step given by hand)."""
        return float(state.control[SCALE]) * (self.fixed or MOVE)

    def agree(self, was: ExchangeState, state: SagaState, channel: Channel) -> None:
        """Do nothing: all ranks make theirs from the same numbers."""

    def coordinates(self) -> Coordinates:
        """Give those in which the metric is the identity."""
        if self.preconditioner.coordinates is None:
            raise RuntimeError("this metric was made for exact sums")
        return self.preconditioner.coordinates

    def run(
        self, state: SagaState, objective: Objective, channel: Channel, poll: Poll | None = None, epochs: float = 0.0
    ) -> None:
        """Visit the next blocks of the local order."""
        shard = objective.shard
        rows = len(shard)
        if rows == 0:
            return
        blocks = -(-rows // self.block)
        scale = shard.total / rows
        theta = self.preconditioner.share
        numbers = (
            theta * blocks / rows,
            theta * scale,
            1.0 / shard.total,
            self.eta(blocks, float(state.control[SCALE])),
        )
        rest = state.average - theta * scale * state.shared
        wanted = max(1, round((epochs or float(state.control[ROUND])) * blocks))
        orders = upcoming(state.cursor, blocks, wanted, lambda epoch: self._order(epoch, blocks, channel.rank))
        for order in orders:
            for piece in paced(order, poll):
                self._kernel(state, objective, rest, piece, numbers)
            state.work[VISITED] += rows_from(order * self.block, self.block, rows)

    def _order(self, epoch: int, blocks: int, rank: int) -> Integers:
        return rng.generator(self.seed, ORDER_STREAM, epoch, rank).permutation(blocks)

    def _kernel(
        self, state: SagaState, objective: Objective, rest: Model, order: Integers, numbers: tuple[float, ...]
    ) -> None:
        shard, made = objective.shard, self.preconditioner
        before = (shard.label, shard.weight, state.table, state.local, state.w, state.own, rest, order, self.block)
        after = (numbers, objective.ridge, made.inverse, made.others, objective.loss.slope_address)
        if isinstance(shard.rows, DenseRows):
            blocks_dense(shard.rows.values, *before, *after)
        else:
            blocks_csr(shard.rows.indptr, shard.rows.indices, shard.rows.values, *before, *after)

    def adapt(self, state: SagaState, exact: Evaluation, tried: int, objective: Objective, channel: Channel) -> float:
        """Take the metric anew where progress in its own terms was slow and the curvature can have changed."""
        control = state.control
        gradient = exact.gradient + objective.ridge * state.w
        decrement = self.preconditioner.decrement(gradient)
        rate = decrement / max(float(control[DECREMENT]), TINY)
        slow = rate > SLOW
        control[DECREMENT] = decrement
        if channel.compresses:
            return self._adapt_compressed(state, rate, tried, objective, channel)
        control[SCALE] = 0.25 * control[SCALE] if tried > 2 else min(1.0, 2.0 * control[SCALE])
        # Where nothing has moved since the metric was made a shorter step must do.
        made_here = tried > 2 and bool((state.anchor == state.w).all())
        if made_here or not (slow or tried) or objective.loss.quadratic:
            return 0.0
        control[DAMPING] = min(1.0, max(1 / 64, 4.0 * control[DAMPING])) if tried else control[DAMPING] / 4.0
        return self._renew(state, objective, channel)

    def _renew(self, state: SagaState, objective: Objective, channel: Channel) -> float:
        state.anchor[...] = state.w
        self.preconditioner = preconditioner.build(
            objective, state.anchor, channel, self.own_share, float(state.control[DAMPING])
        )
        start_over(state, channel)
        return 1.0

    def _adapt_compressed(
        self, state: SagaState, rate: float, tried: int, objective: Objective, channel: Channel
    ) -> float:
        """A metric costs as many bytes as dozens of rounds: take it anew only where they hardly help any more."""
        control = state.control
        again = tried > 2 or (tried and control[MIX] <= 0.5 * channel.shrink_of_sum(state.w.size))
        mixed(control, tried, state.w.size, channel)
        control[SCALE] = 0.25 * control[SCALE] if tried > 2 else min(1.0, 2.0 * control[SCALE])
        rounds = self.refresh / control[ROUND]
        expected = (1.0 - channel.typical_contraction(state.w.size)) ** rounds
        self._look_back(control, rate)
        hardly = rate > max(HARDLY, expected) and control[REST] == 0.0
        if objective.loss.quadratic or not (hardly or again):
            return 0.0
        control[GREW] = rate
        control[DAMPING] = min(1.0, max(1 / 64, 4.0 * control[DAMPING])) if again else control[DAMPING] / 4.0
        return self._renew(state, objective, channel)

    def _look_back(self, control: Vector, rate: float) -> None:
        """See whether the last metric helped; where it did not, the next one waits twice as many periods."""
        if control[GREW] > 0.0:
            control[WAIT] = 1.0 if rate < 0.8 * control[GREW] else min(64.0, 2.0 * max(1.0, control[WAIT]))
            control[REST], control[GREW] = control[WAIT], 0.0
        control[REST] = max(0.0, control[REST] - 1.0)


def block_size(rows: int, width: int) -> int:
    """Choose rows in a block: enough for the width² work of a step, few enough for many steps an epoch."""
    wanted = min(max(64, 2 * width), max(8, rows // 16))
    return -(-wanted // 8) * 8
