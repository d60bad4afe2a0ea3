"""Standard errors of chosen coefficients by conjugate gradients, where all columns would be too many for a matrix.

With M the curvature of loss and penalty, c the row that makes a coefficient of the file of the parameters of
training, and M x = c, the variance of the coefficient is φ xᵀ H x, H the curvature of the loss alone, or xᵀ S x with
S the sum of the rows' squared gradients (HC0). Each coefficient costs some tens of passes over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.core.config.registry import nearest
from mpiopt.inference.distributions import quantile, two_sided
from mpiopt.inference.goodness import Rates, goodness
from mpiopt.inference.rows import WeightedRows
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.curvature import column_curvatures
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

ACCURATE = 1e-11  # residual of a solution, relative: variances then have ten digits
MOST_STEPS = 5000  # of conjugate gradients
KINDS = ("model", "HC0")
INTERCEPT = "const"


@dataclass(frozen=True, eq=False)
class ChosenErrors:
    """Some coefficients with their standard errors, in the units of the file; equal on all ranks."""

    names: tuple[str, ...]
    coef: Vector
    standard_errors: Vector
    df: float  # of Student's t; inf for the normal distribution
    level: float
    epochs: float  # passes over the rows

    def text(self) -> str:
        """Return the table in at most 80 columns."""
        half = quantile(self.level, self.df) * self.standard_errors
        statistic = self.coef / self.standard_errors
        p, low = two_sided(statistic, self.df), 0.5 * (1.0 - self.level)
        heads = ("coef", "std err", "z" if math.isinf(self.df) else "t", "P>|z|" if math.isinf(self.df) else "P>|t|")
        lines = [f"{'':<18}" + "".join(f"{h:>10}" for h in (*heads, f"[{low:.4g}", f"{1.0 - low:.4g}]"))]
        columns = (self.coef, self.standard_errors, statistic, p, self.coef - half, self.coef + half)
        for name, *figures in zip(self.names, *columns, strict=True):
            shown = name if len(name) <= 17 else name[:16] + "…"
            lines.append(f"{shown:<18}" + "".join(f"{figure:>10.4g}" for figure in figures))
        return "\n".join([*lines, f"by conjugate gradients, {self.epochs:.0f} passes over the rows"])


def chosen_errors(
    objective: Objective,
    w: Matrix,
    units: ColumnUnits,
    channel: Channel,
    wanted: Sequence[str],
    names: Sequence[str] | None = None,
    kind: str = "model",
    level: float = 0.95,
    rates: Rates | None = None,
    matrix: Matrix | None = None,
) -> ChosenErrors:
    """Return the errors of the coefficients of these names; collective.

    Parameters
    ----------
    objective, w, units, channel, names, level, rates, matrix
        As of `mpiopt.inference.summary.summarise`; the loss has one output, and weights are frequencies.
    wanted : sequence of str
        Names of coefficients; "const" is the constant.
    kind : str
        "model" or "HC0".

    Raises
    ------
    ValueError
        On all ranks: no such name, a coefficient that l1 has set to 0 or that is at a bound, columns that depend on
        each other, or a loss without these errors.
    """
    _refuse(objective, kind)
    d, loss = objective.shard.features, objective.loss
    features = list(names) if names is not None else [f"x{j + 1}" for j in range(d)]
    rows = WeightedRows(objective, w, frequency=rates is None or not rates.weighted, channel=channel)
    free = (w[0] != 0.0) | (objective.threshold == 0.0)
    free &= np.arange(objective.width) < rows.used
    held = np.zeros(objective.width, bool) if objective.bounds is None else objective.bounds.reached(w)[0]
    free &= ~held
    whole = objective.shard.total * objective.shard.weight_unit
    bends = objective.row_curvatures(w)
    ridge = objective.ridge * whole
    scale = channel.sum(column_curvatures(objective, w)) * whole + ridge
    scale[:d] += 0.0 if matrix is None else np.diag(matrix) * whole
    scale = np.where(free & (scale > 0.0), scale, 1.0)

    def bent(x: Vector) -> Vector:
        share = channel.sum(objective.hessian_vector(bends, x[None])).reshape(-1)
        return np.where(free, share * whole, 0.0)

    def penalised(x: Vector) -> Vector:
        turned = ridge * x
        if matrix is not None:
            turned[:d] += whole * (matrix @ x[:d])
        return bent(x) + np.where(free, turned, 0.0)

    fit = goodness(rows, float(free.sum()), rates)
    coef, errors, passes = [], [], 0
    for name in wanted:
        c = _row(name, features, units, objective.width)
        if name != INTERCEPT and not free[features.index(name)]:
            why = "is at a bound" if held[features.index(name)] else "was set to 0 by l1"
            raise ValueError(f"the coefficient of {name} {why}: it has no standard error")
        x, steps = _solve(penalised, np.where(free, c, 0.0), scale)
        if steps > MOST_STEPS:
            raise ValueError(f"the error of {name} is not found: columns depend on each other; use l2")
        coef.append(float(c @ w[0]) + (units.label_origin if name == INTERCEPT else 0.0))
        passes += steps + 1
        if kind == "model":
            errors.append(math.sqrt(fit.dispersion * float(x @ bent(x))))
        else:
            moved = rows.slopes[:, 0] * objective.predict(x[None])[:, 0]
            errors.append(math.sqrt(rows.total((rows.weight if rows.frequency else rows.weight**2) * moved**2)))
    df = fit.residual_df if loss.family == "Gaussian" and kind == "model" else math.inf
    return ChosenErrors(tuple(wanted), np.array(coef), np.array(errors), df, level, float(passes))


def _refuse(objective: Objective, kind: str) -> None:
    """Raise ValueError if a model has no such errors."""
    loss = objective.loss
    if kind not in KINDS:
        raise ValueError(f"chosen coefficients have the covariances {' and '.join(KINDS)}, not {kind}")
    if objective.outputs > 1:
        raise ValueError(f"chosen coefficients are of losses with one output, not {loss.name}")
    if kind == "model" and not loss.family:
        raise ValueError(f"the loss {loss.name} is no likelihood, so its model has no covariance; take HC0")
    if kind == "model" and objective.ridge.any() and not loss.known_dispersion:
        raise ValueError("with l2 the dispersion takes the trace of a matrix of all columns; take HC0")


def _row(name: str, features: Sequence[str], units: ColumnUnits, width: int) -> Vector:
    """Return the row that makes a coefficient of the file of the parameters of training."""
    c, d = np.zeros(width), len(features)
    if name == INTERCEPT and units.intercept:
        c[:d], c[d] = -units.origin / units.size, 1.0
    elif name in features:
        place = features.index(name)
        c[place] = 1.0 / units.size[place]
    else:
        hint = ": the model has no intercept" if name == INTERCEPT else nearest(name, [*features, INTERCEPT])
        raise ValueError(f"there is no coefficient {name!r}{hint}")
    return c


def _solve(product: Callable[[Vector], Vector], c: Vector, scale: Vector) -> tuple[Vector, int]:
    """Solve M x = c by conjugate gradients with the diagonal of M; return x and the steps, too many if it failed."""
    x, r = np.zeros_like(c), c.copy()
    p = z = r / scale
    size, enough = float(r @ z), ACCURATE**2 * float(c @ (c / scale))
    for steps in range(1, MOST_STEPS + 1):
        m = product(p)
        bend = float(p @ m)
        if not bend > 0.0:
            break
        x, r = x + size / bend * p, r - size / bend * m
        z = r / scale
        before, size = size, float(r @ z)
        if size <= enough:
            return x, steps
        p = z + size / before * p
    return x, MOST_STEPS + 1
