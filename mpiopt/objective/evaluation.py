"""Evaluate the whole objective at a model: each rank's share, summed in one exchange."""

from __future__ import annotations

from typing import NamedTuple

from mpiopt.compress.channel import Channel
from mpiopt.objective.objective import Model as Model  # re-exported: states and results name it from here
from mpiopt.objective.objective import Objective


class Evaluation(NamedTuple):
    """The objective at a model, over all rows of all ranks; equal on all ranks.

    Attributes
    ----------
    value : float
        F(w) = (1/N) Σ s_i loss_i + penalty.
    gradient : ndarray, shape (outputs, width)
        The gradient of the loss part alone, (1/N) Σ s_i ∇loss_i(w); the penalty's part is not in it.
    error : float
        Upper bound on ‖gradient − exact gradient‖₂. Zero unless exchanges are compressed.
    """

    value: float
    gradient: Model
    error: float = 0.0


def evaluate_exact(objective: Objective, w: Model, channel: Channel) -> Evaluation:
    """Compute F(w) and the gradient of its loss part without compression.

    Collective: one pass over the rows of each rank and one exchange.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective.
    w : ndarray, shape (outputs, width)
        The model, the same on all ranks.
    channel : Channel
        The ranks.

    Returns
    -------
    Evaluation
        The same bits on all ranks.
    """
    value, gradient = objective.evaluate(w)
    total = channel.sum(value, gradient)
    return Evaluation(float(total[0]) + objective.penalty_value(w), total[1:].reshape(w.shape))
