"""Averaged compressed SGD for least squares, with or without control variates.

C. Philippenko, A. Dieuleveut, "Compressed and distributed least-squares regression: convergence rates with
applications to federated learning", JMLR 2024, algorithms 1 and 2; the control variates are those of Artemis
(arXiv 2006.14591) on the way to the server. `mpiopt study jobs/compression-synthetic.toml` studies its rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress import error_feedback
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Layout, NamedVector, PerRank, Replicated, Slot
from mpiopt.objective.minibatch import draw_rows, minibatch_gradient
from mpiopt.objective.objective import Objective

ROWS_STREAM, GRADIENT_STREAM = 24, 25  # of the random numbers that choose rows, and that compress gradients
RULES = ("omega", "horizon", "plain")
HORIZON_POWER = -0.4  # of K: the paper's step for a known number of steps is K^(−2/5)


class CompressedSgdControl(NamedVector):
    """The step, and the number of steps."""

    gamma = Slot(0)  # γ
    done = Slot(1)  # steps so far


@dataclass
class CompressedSgdState:
    """The averaged model, the iterate, and the memory."""

    w: Replicated  # (outputs, width) mean of the iterates
    iterate: Replicated  # (outputs, width)
    own: PerRank  # (outputs, width) h_i
    whole: Replicated  # (outputs, width) Σ h_i
    control: Annotated[CompressedSgdControl, Layout.REPLICATED]
    loaded: PerRank  # (1,) 1 if `own` is this rank's


@dataclass(frozen=True)
class CompressedSgd(Algorithm[CompressedSgdState]):
    """w_k ← w_{k−1} − γ Σ m_i, m_i = C(g_i − h_i) + h_i, g_i of b rows drawn with replacement; w̄_k their mean.

    ======  =======  ===================================
    symbol  field    meaning
    ======  =======  ===================================
    w̄_k     w        mean of the iterates
    w_k     iterate  iterate
    h_i     own      control variate of this rank
    Σ h_i   whole    sum of the control variates
    γ       control  step
    ======  =======  ===================================

    Baseline. Not exact: F(w̄_K) − F* is about Tr(C_ania H⁻¹)/(2K), C_ania the covariance of Σ m_i at w*. Use --memory
    none or difference.

    Parameters
    ----------
    rule
        γ is 1/(2(ω + 1)R²) (omega), K^(−2/5) (horizon) or 1/(2R²) (plain, for shifted concepts), R² = Tr H.
    horizon
        K, for the rule horizon.
    step_size
        γ; 0: by the rule.
    batch
        b, rows of each rank in a step.
    """

    name: ClassVar[str] = "compressed-sgd"
    baseline: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "quadratic loss"})
    compressed_memory: ClassVar[str] = "difference"

    rule: str = "omega"
    horizon: int = 100_000
    step_size: float = 0.0
    batch: int = 1

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"compressed-sgd: rule must be one of {', '.join(RULES)}, not {self.rule!r}")
        for field, least in (("horizon", 1), ("step_size", 0), ("batch", 1)):
            at_least(f"compressed-sgd: {field}", getattr(self, field), least)

    def blank(self, objective: Objective, size: int) -> CompressedSgdState:
        """Return a state of zeros."""
        w = objective.zeros()
        return CompressedSgdState(w, w.copy(), w.copy(), w.copy(), CompressedSgdControl.zeros(), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> CompressedSgdState:
        """Start at the origin with an empty memory."""
        if channel.compresses and channel.memory == "error-feedback":
            raise ValueError("compressed-sgd: --memory must be none or difference, not error-feedback")
        state = self.blank(objective, channel.size)
        state.w[...] = state.iterate[...] = objective.beginning()
        state.control.gamma = self.step_size or self._gamma(objective, channel)
        state.loaded[0] = 1.0
        return state

    def _gamma(self, objective: Objective, channel: Channel) -> float:
        """Return the step of the rule; collective."""
        if self.rule == "horizon":
            return float(self.horizon**HORIZON_POWER)
        own = float((objective.shard.weight * objective.row_norms()).sum()) / objective.shard.total
        trace = float(channel.sum(own)[0]) + float(objective.ridge.sum())
        omega = channel.variance(objective.zeros().size) if self.rule == "omega" else 0.0
        return 0.5 / ((omega + 1.0) * trace) if trace > 0.0 else 1.0

    def rebuild(self, state: CompressedSgdState, objective: Objective, channel: Channel) -> None:
        """Begin with an empty memory if the number of ranks changed."""
        if not state.loaded[0]:
            state.own[...], state.whole[...], state.loaded[0] = 0.0, 0.0, 1.0

    def step(self, k: int, state: CompressedSgdState, objective: Objective, channel: Channel) -> StepInfo:
        """Send the gradient of a batch, step, average."""
        rows = draw_rows(ROWS_STREAM, k, objective, self.batch, channel)
        gradient = minibatch_gradient(objective, state.iterate, rows)
        g = error_feedback.update(gradient, state.own, state.whole, channel, k, GRADIENT_STREAM)
        control = state.control
        state.iterate -= control.gamma * (g + objective.ridge * state.iterate)
        control.done += 1.0
        state.w += (state.iterate - state.w) / control.done
        return StepInfo(self.batch * channel.size / objective.shard.total, control.gamma)
