"""Local steps with the full preconditioner: blocks of rows, steps η P⁻¹ v, a model of the others' curvature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.algorithms import preconditioner
from mpiopt.algorithms.preconditioner import Preconditioner
from mpiopt.algorithms.saga import exchange
from mpiopt.algorithms.saga.local_steps import ORDER_STREAM, next_blocks, rows_in
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.state import SagaState, SharedModel, StepControl, WorkCounters
from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.compress.channel import Channel
from mpiopt.compress.whitening import Coordinates
from mpiopt.core import rng
from mpiopt.data.read_ahead import read_ahead
from mpiopt.data.shard import DenseRows
from mpiopt.kernels.dense import BLOCK
from mpiopt.kernels.polling import Integers, Poll, paced
from mpiopt.kernels.saga_blocks import CsrArrays, Labels, LocalIterate, OthersModel, PreconditionedFactors
from mpiopt.kernels.saga_preconditioned import blocks_csr, blocks_dense
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective


@dataclass
class PreconditionedSteps:
    """w ← w − η P⁻¹ v on blocks of rows, η = min(1, q scale / blocks); v: `mpiopt.kernels.saga_preconditioned`."""

    preconditioner: Preconditioner
    largest_share: float  # of θ
    block: int  # rows
    refresh: float  # epochs between two refreshes
    fixed_eta: float  # η by hand; 0: chosen
    chords: bool  # whether a round may be a chord step: all ranks wait for it

    @classmethod
    def choose(
        cls, options: SagaOptions, state: SagaState, objective: Objective, channel: Channel
    ) -> PreconditionedSteps:
        """Make the preconditioner at the anchor; choose block and refresh; collective."""
        block = options.batch or block_size(len(objective.shard), objective.width)
        refresh = TUNING.refresh_epochs if options.refresh < 0.0 else options.refresh
        exact = objective.outputs == 1 or preconditioner.is_coupled(objective)
        share = TUNING.largest_share if exact else 1.0
        made = preconditioner.build(objective, state.anchor, channel, share, state.control.damping)
        chords = refresh > 0.0 and options.exchange in ("sync", "overlap") and not channel.compresses
        return cls(made, share, block, refresh, options.fixed_step, chords)

    def eta(self, blocks: int, scale: float) -> float:
        """Return η for a rank with the given number of blocks."""
        if self.fixed_eta:
            return scale * self.fixed_eta
        return min(1.0, TUNING.newton_steps * scale / max(1, blocks))

    def step_size(self, control: StepControl, work: WorkCounters) -> float:
        """Return q·scale, the Newton steps that an epoch amounts to (or η by hand)."""
        return control.scale * (self.fixed_eta or TUNING.newton_steps)

    def agree(self, change: SharedModel, control: StepControl, work: WorkCounters, channel: Channel) -> None:
        """Do nothing: all ranks choose their step by the same numbers."""

    def coordinates(self) -> Coordinates:
        """Return those in which P is the identity."""
        if self.preconditioner.coordinates is None:
            raise RuntimeError("this preconditioner was made for exact sums: make it with a channel that compresses")
        return self.preconditioner.coordinates

    def chord(self, state: SagaState, objective: Objective, channel: Channel) -> Model | None:
        """Return w − P⁻¹ ∇F(w) where the last period said that it gains more than local steps; collective.

        All ranks take rank 0's answer: other processors may round differently.
        """
        if not state.control.chord:
            return None
        p = np.zeros_like(state.w)
        if channel.rank == 0:
            p = self.preconditioner.solve(state.average + objective.ridge * state.w)
        return np.asarray(state.w - channel.sum(p).reshape(p.shape))

    def run(
        self, state: SagaState, objective: Objective, channel: Channel, poll: Poll | None = None, epochs: float = 0.0
    ) -> None:
        """Visit the next blocks of the local order."""
        rows = len(objective.shard)
        if rows == 0:
            return
        blocks = -(-rows // self.block)
        scale, theta = objective.shard.total / rows, self.preconditioner.share
        factors = PreconditionedFactors(
            innovation=theta * blocks / rows,
            own_scale=theta * scale,
            share=1.0 / objective.shard.total,
            eta=self.eta(blocks, state.control.scale),
        )
        with np.errstate(invalid="ignore"):  # after a step that was too long, which is refused later
            rest = state.average - theta * scale * state.shared
        wanted = max(1, round((epochs or state.control.round_epochs) * blocks))

        def order_of(epoch: int) -> Integers:
            return rng.generator(channel.seed, ORDER_STREAM, epoch, channel.rank).permutation(blocks)

        for order in next_blocks(state.cursor, blocks, wanted, order_of):
            for starts in read_ahead(objective.shard.rows, order * self.block, self.block):
                for part in paced(starts // self.block, poll):
                    self._kernel(state, objective, rest, part, factors)
            state.work.visited += rows_in(order * self.block, self.block, rows)

    def _kernel(
        self, state: SagaState, objective: Objective, rest: Model, order: Integers, factors: PreconditionedFactors
    ) -> None:
        """Do the steps of the blocks in `order`."""
        shard, made = objective.shard, self.preconditioner
        labels, iterate = Labels(shard.label, shard.weight), LocalIterate(state.local, state.own, state.table)
        model = OthersModel(rest, state.w, made.others, made.inverse, objective.ridge)
        address = objective.loss.slope_address
        if isinstance(shard.rows, DenseRows):
            blocks_dense(shard.rows.values, labels, iterate, model, factors, order, self.block, address)
        else:
            arrays = CsrArrays(shard.rows.indptr, shard.rows.indices, shard.rows.values)
            blocks_csr(arrays, labels, iterate, model, factors, order, self.block, address)

    def adapt(self, state: SagaState, exact: Evaluation, cuts: int, objective: Objective, channel: Channel) -> float:
        """Adapt the scale; make the preconditioner again where progress was slow and the curvature may differ."""
        control = state.control
        decrement = self.preconditioner.decrement(exact.gradient + objective.ridge * state.w)
        rate = decrement / max(control.decrement, TUNING.tiny)
        control.decrement = decrement
        given_up = cuts > TUNING.cuts
        control.scale = TUNING.quarter * control.scale if given_up else min(1.0, TUNING.recovery * control.scale)
        if channel.compresses:
            # A preconditioner costs as many bytes as dozens of rounds: make one only where rounds hardly help.
            largest_mix = channel.shrink_of_sum(state.w.size)
            failed = given_up or (cuts > 0 and control.mix <= TUNING.rejected_mix * largest_mix)
            exchange.adapt_mix(control, cuts, largest_mix)
            expected = (1.0 - channel.typical_contraction(state.w.size)) ** (self.refresh / control.round_epochs)
            self._judge_last(control, rate)
            wanted = failed or (rate > max(TUNING.hardly, expected) and control.rest == 0.0)
        else:
            # At the anchor itself a new preconditioner would be the same: a shorter step must do.
            failed = cuts > 0
            unmoved = given_up and bool((state.anchor == state.w).all())
            slow = TUNING.slow_chord if control.chord else TUNING.slow
            wanted = (rate > slow or failed) and not unmoved
            if self.chords:
                self._choose_round(control, rate, failed, wanted and not objective.loss.quadratic)
        if objective.loss.quadratic or not wanted:
            return 0.0
        if channel.compresses:
            control.rate_before = rate
        self._make_again(state, failed, objective, channel)
        return 1.0

    def _choose_round(self, control: StepControl, rate: float, failed: bool, renewed: bool) -> None:
        """Choose between local steps and a chord step for the next round, by what an epoch of each leaves.

        A chord step costs one epoch, and with a new preconditioner it is one of Newton's method. Its gain depends
        neither on the number of ranks nor on their rows, while local steps gain less on few and unlike rows.
        """
        if not control.chord:
            control.local_rate = rate ** (1.0 / (self.refresh + 1.0))
        enough = TUNING.hardly if renewed else max(TUNING.slow_chord, control.local_rate)
        control.chord = float(not failed and (not control.chord or rate <= enough))

    def _make_again(self, state: SagaState, failed: bool, objective: Objective, channel: Channel) -> None:
        """Make the preconditioner at the present model, with more damping where F had risen."""
        control = state.control
        if failed:
            control.damping = min(1.0, max(TUNING.least_damping, TUNING.damping_change * control.damping))
        else:
            control.damping = control.damping / TUNING.damping_change
        state.anchor[...] = state.w
        self.preconditioner = preconditioner.build(
            objective, state.anchor, channel, self.largest_share, control.damping
        )
        exchange.sum_memory_exactly(state, channel)

    def _judge_last(self, control: StepControl, rate: float) -> None:
        """Judge whether the last preconditioner helped; if not, the next one waits for twice as many periods."""
        if control.rate_before > 0.0:
            helped = rate < TUNING.helped * control.rate_before
            control.wait = 1.0 if helped else min(TUNING.longest_rest, 2.0 * max(1.0, control.wait))
            control.rest, control.rate_before = control.wait, 0.0
        control.rest = max(0.0, control.rest - 1.0)


def block_size(rows: int, width: int) -> int:
    """Choose the rows of a block: enough for the width² work of a step, few enough for many steps in an epoch."""
    enough = max(TUNING.least_block, TUNING.rows_per_column * width)
    wanted = min(enough, max(BLOCK, rows // TUNING.least_blocks))
    return -(-wanted // BLOCK) * BLOCK
