"""Averaged compressed SGD for least squares, with or without control variates.

C. Philippenko, A. Dieuleveut, "Compressed and distributed least-squares regression: convergence rates with
applications to federated learning", JMLR 2024, algorithms 1 and 2; the control variates are those of Artemis
(arXiv 2006.14591) on the way up. `mpiopt study jobs/compression-synthetic.toml` is about its rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress import error_feedback
from mpiopt.compress.channel import Channel
from mpiopt.core.state import PerRank, Replicated
from mpiopt.objective.evaluation import Model
from mpiopt.objective.minibatch import draw_rows, minibatch_gradient
from mpiopt.objective.objective import Objective

ROWS, STREAM = 24, 25  # of randomness: which rows, the compressed gradients
RULES = ("omega", "horizon", "plain")


@dataclass
class CompressedSgdState:
    """The averaged model, the iterate, the memory."""

    w: Replicated  # (outputs, width) the mean of the iterates
    iterate: Replicated  # (outputs, width)
    own: PerRank  # (outputs, width) h_i
    whole: Replicated  # (outputs, width) Σ h_i
    control: Replicated  # (2,) γ, steps done
    loaded: PerRank  # (1,) 1: `own` is this rank's


@dataclass(frozen=True)
class CompressedSgd(Algorithm[CompressedSgdState]):
    """w_k ← w_{k−1} − γ Σ m_i, m_i = C(g_i − h_i) + h_i, g_i of b rows drawn with replacement; w̄_k their mean.

    letter – field – meaning
    w̄ – w, w – iterate, h_i – own, Σ h_i – whole, γ – control, K – horizon, b – batch.

    Not exact: F(w̄_K) − F* is about Tr(C_ania H⁻¹)/(2K), C_ania the covariance of Σ m_i at w*. rule: γ is
    1/(2(ω + 1)R²) (omega), K^(−2/5) (horizon) or 1/(2R²) (plain, for shifted concepts), R² = Tr H. --memory none or
    difference.
    """

    name: ClassVar[str] = "compressed-sgd"
    baseline: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "quadratic loss"})
    compressed_memory: ClassVar[str] = "difference"

    rule: str = "omega"
    horizon: int = 100_000
    step_size: float = 0.0  # γ; 0: by the rule
    batch: int = 1

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"compressed-sgd: rule must be one of {', '.join(RULES)}, not {self.rule!r}")
        for field, least in (("horizon", 1), ("step_size", 0), ("batch", 1)):
            if getattr(self, field) < least:
                raise ValueError(f"compressed-sgd: {field} must be at least {least}, not {getattr(self, field)}")

    def blank(self, objective: Objective, size: int) -> CompressedSgdState:
        """Make a state of zeros."""
        w = objective.zeros()
        return CompressedSgdState(w, w.copy(), w.copy(), w.copy(), np.zeros(2), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> CompressedSgdState:
        """Start at 0 with an empty memory."""
        if channel.compresses and channel.memory == "error-feedback":
            raise ValueError("compressed-sgd: --memory is none or difference, not error-feedback")
        state = self.blank(objective, channel.size)
        state.control[0] = self.step_size or self._gamma(objective, channel)
        state.loaded[0] = 1.0
        return state

    def _gamma(self, objective: Objective, channel: Channel) -> float:
        if self.rule == "horizon":
            return float(self.horizon**-0.4)
        own = float((objective.shard.weight * objective.row_norms()).sum()) / objective.shard.total
        square = float(channel.sum(own)[0]) + float(objective.ridge.sum())
        omega = channel.variance(objective.zeros().size) if self.rule == "omega" else 0.0
        return 0.5 / ((omega + 1.0) * square) if square > 0.0 else 1.0

    def rebuild(self, state: CompressedSgdState, objective: Objective, channel: Channel) -> None:
        """On another number of ranks begin with an empty memory."""
        if not state.loaded[0]:
            state.own[...], state.whole[...], state.loaded[0] = 0.0, 0.0, 1.0

    def step(self, k: int, state: CompressedSgdState, objective: Objective, channel: Channel) -> StepInfo:
        """Send a batch's gradient, step, average."""
        share = self._share(k, state.iterate, objective, channel)
        g = error_feedback.update(share, state.own, state.whole, channel, k, STREAM)
        gamma = float(state.control[0])
        state.iterate -= gamma * (g + objective.ridge * state.iterate)
        state.control[1] += 1.0
        state.w += (state.iterate - state.w) / state.control[1]
        return StepInfo(self.batch * channel.size / objective.shard.total, gamma)

    def _share(self, k: int, w: Model, objective: Objective, channel: Channel) -> Model:
        """Estimate (1/N) Σ s_i ∇loss_i(w) over this rank's rows from b of them."""
        return minibatch_gradient(objective, w, draw_rows(ROWS, k, objective, self.batch, channel))
