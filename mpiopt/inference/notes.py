"""What a reader of a summary must know: notes on weights, the penalty and the estimates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpiopt.inference.goodness import Rates
from mpiopt.inference.rows import WeightedRows
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]

FAR = 0.01  # standard errors from the optimum from which a summary says so
INFLATED = 10.0  # variance inflation from which a summary names the column


def on_weights(rows: WeightedRows, rates: Rates | None) -> list[str]:
    """Return notes on what weights and targets mean; collective."""
    found = []
    if rates is not None:
        one = "; a row is one observation" if rates.weighted else ""
        known = rates.weighted and rates.alone
        unknown = "" if known else " The log likelihood is not computed: weights do not tell the exposures."
        found.append(f"Targets are rates of an exposure or an offset{one}.{unknown}")
    if rows.total(rows.weight != 1.0) == 0.0 or (rates is not None and rates.weighted):
        return found
    return [
        *found,
        "Weights are " + ("frequencies: 2 is two rows." if rows.frequency else "precisions: 2 is half the variance."),
    ]


def on_penalty(objective: Objective, parameters: int, held: int, matrix: bool) -> list[str]:
    """Return notes on a penalty and on `held` coefficients at a bound; `matrix`: one is part of the penalty."""
    found = []
    if held:
        found.append(
            f"{held} coefficient{'s are' if held > 1 else ' is'} at a bound and left out. Errors and intervals are "
            "those of a model that had them there beforehand: they are too small, and p values too."
        )
    if objective.threshold.any():
        found.append(
            f"l1 has chosen these {parameters} parameters. Errors and intervals are those of a model with these "
            "columns given beforehand: they are too small, and p values too."
        )
    if objective.ridge.any() or objective.threshold.any():
        found.append(
            f"The penalty{', with its matrix,' if matrix else ''} shrinks the coefficients. Standard errors are "
            "about their own mean, which is not the true value; intervals do not cover that with the level stated. "
            "Degrees of freedom are effective ones."
        )
    return found


def on_estimates(steps: Vector, inflation: Vector, names: Sequence[str]) -> list[str]:
    """Return notes on the distance to the optimum, in standard errors, and on collinear columns."""
    found = []
    far = float(np.abs(steps).max(initial=0.0))
    if far > FAR:
        found.append(f"The optimum is up to {far:.2g} standard errors away: train with a smaller --tol.")
    if np.nanmax(inflation, initial=0.0) > INFLATED:
        worst = int(np.nanargmax(inflation))
        found.append(f"Columns are collinear: the variance inflation of {names[worst]} is {inflation[worst]:.3g}.")
    return found
