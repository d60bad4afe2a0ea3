"""The whole objective at a point: every rank's share, summed in one exchange."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective.objective import Objective

Model = NDArray[np.float64]  # (outputs, width)


class Evaluation(NamedTuple):
    """The whole objective at `state.w`, computed over all rows of all ranks; equal on all ranks."""

    value: float  # F(w) = (1/N) Σ s_i loss_i + penalty
    gradient: Model  # of the loss part alone: (1/N) Σ s_i ∇loss_i(w)
    error: float = 0.0  # upper bound on ‖gradient − exact gradient‖₂; zero unless exchanges are compressed


def evaluate_exact(objective: Objective, w: Model, channel: Channel) -> Evaluation:
    """Give F(w) and the gradient of its loss part over all rows of all ranks; collective, one pass, one exchange."""
    value, gradient = objective.evaluate(w)
    total = channel.sum(value, gradient)
    return Evaluation(float(total[0]) + objective.penalty_value(w), total[1:].reshape(w.shape))
