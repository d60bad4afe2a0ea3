"""The whole objective at a point: every rank's share, summed in one exchange."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import Exact
from mpiopt.channel import Channel
from mpiopt.objective import Objective

Model = NDArray[np.float64]  # (outputs, width)


def evaluate_exact(objective: Objective, w: Model, channel: Channel) -> Exact:
    """Give F(w) and the gradient of its loss part over all rows of all ranks; collective, one pass, one exchange."""
    value, gradient = objective.evaluate(w)
    total = channel.sum(value, gradient)
    return Exact(float(total[0]) + objective.penalty_value(w), total[1:].reshape(w.shape))
