"""Measures of fit: deviance, log likelihood and what is computed from them, from sums over the rows of all ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.offsets import apart
from mpiopt.inference.distributions import chi_squared_tail
from mpiopt.inference.rows import WeightedRows
from mpiopt.objective.intercept import minimise_intercept

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Goodness:
    """How well a model fits its rows; nan where a loss does not define a number.

    Attributes
    ----------
    observations : float
        Number of rows with a weight, or the sum of their frequencies.
    parameters : float
        Number of estimated parameters; with a ridge the effective one, the trace of M⁻¹ H.
    intercepts : int
        How many of them are constants.
    dispersion : float
        1, or Pearson's statistic over the residual degrees of freedom.
    deviance, null_deviance : float
        That of the model, and of the best constants alone (without an intercept: of the margins 0).
    pearson : float
        Σ (y - mean)²/variance.
    log_likelihood, null_log_likelihood : float
        Of the same two models. That of the normal distribution is at the variance of its largest likelihood.
    own_parameters : int
        Parameters of the distribution that were estimated beside these, such as θ; they count in AIC and BIC.

    Examples
    --------
    >>> fit = Goodness(100, 3, 1, 1.0, 80.0, 100.0, 95.0, -40.0, -50.0)
    >>> fit.aic, round(fit.explained, 3), fit.residual_df
    (86.0, 0.2, 97.0)
    """

    observations: float
    parameters: float
    intercepts: int
    dispersion: float
    deviance: float
    null_deviance: float
    pearson: float
    log_likelihood: float
    null_log_likelihood: float
    own_parameters: int = 0

    @property
    def residual_df(self) -> float:
        """Residual degrees of freedom n - k."""
        return float(self.observations - self.parameters)

    @property
    def model_df(self) -> float:
        """Degrees of freedom of the model, without constants."""
        return float(self.parameters - self.intercepts)

    @property
    def aic(self) -> float:
        """Akaike's information criterion -2 log likelihood + 2 k."""
        return -2.0 * self.log_likelihood + 2.0 * (self.parameters + self.own_parameters)

    @property
    def bic(self) -> float:
        """Schwarz's information criterion -2 log likelihood + k log n."""
        return -2.0 * self.log_likelihood + (self.parameters + self.own_parameters) * math.log(self.observations)

    @property
    def explained(self) -> float:
        """Share of the null deviance that is explained: R² for the squared loss."""
        return 1.0 - self.deviance / self.null_deviance if self.null_deviance > 0.0 else math.nan

    @property
    def mcfadden(self) -> float:
        """McFadden's pseudo R², 1 - log likelihood/null log likelihood."""
        return 1.0 - self.log_likelihood / self.null_log_likelihood if self.null_log_likelihood else math.nan

    @property
    def cox_snell(self) -> float:
        """Cox and Snell's pseudo R², 1 - exp(2 (null log likelihood - log likelihood)/n)."""
        return 1.0 - math.exp(2.0 * (self.null_log_likelihood - self.log_likelihood) / self.observations)


@dataclass(frozen=True)
class HypothesisTest:
    """The outcome of a test of a hypothesis about several coefficients.

    Attributes
    ----------
    statistic : float
        The chi-squared statistic.
    df : float
        Its degrees of freedom.
    p_value : float
        The probability of one at least as large where the hypothesis holds.
    """

    statistic: float
    df: float
    p_value: float


def likelihood_ratio(full: Goodness, restricted: Goodness) -> HypothesisTest:
    """Test a model without some columns of another, fitted to the same rows without a penalty.

    Raises
    ------
    ValueError
        If the models are of different rows, or a loss has no likelihood.
    """
    if full.observations != restricted.observations:
        raise ValueError(
            f"a likelihood ratio compares models of the same rows; these have {full.observations:g} and "
            f"{restricted.observations:g} observations"
        )
    statistic, df = 2.0 * (full.log_likelihood - restricted.log_likelihood), full.parameters - restricted.parameters
    if math.isnan(statistic):
        raise ValueError("the loss is no likelihood, so there is no likelihood ratio")
    if not df > 0.0:
        raise ValueError(f"the full model must have more parameters than the restricted one: {df:g} more")
    return HypothesisTest(statistic, df, chi_squared_tail(statistic, df))


class Rates(NamedTuple):
    """How targets that are rates, totals over exposures, are weighted."""

    weighted: bool  # by a power of the exposure; those of the gamma distribution are not
    alone: bool  # and by nothing else


def goodness(rows: WeightedRows, parameters: float, rates: Rates | None = None) -> Goodness:
    """Compute the measures of fit of a model with that many parameters; collective.

    With `rates`, the likelihood is that of the totals; nan where the weights do not tell the exposures.
    """
    shard, loss = rows.objective.shard, rows.objective.loss
    null = np.zeros_like(rows.margins)
    if shard.intercept:
        null = null + minimise_intercept(loss, null, shard.label, shard.weight / shard.total, rows.channel)
    n, pearson = rows.observations(), _pearson(rows)
    if not n > parameters:
        raise ValueError(f"{n:g} observations are too few for {parameters:g} parameters")
    dispersion = 1.0 if loss.known_dispersion else pearson / (n - parameters)
    found = Goodness(
        observations=n,
        parameters=parameters,
        intercepts=(max(1, rows.objective.outputs - 1)) * int(shard.intercept),
        dispersion=dispersion if loss.family else math.nan,
        deviance=rows.total(rows.weight * loss.deviance(rows.margins, shard.label)),
        null_deviance=rows.total(rows.weight * loss.deviance(null, shard.label)),
        pearson=pearson,
        log_likelihood=0.0,
        null_log_likelihood=0.0,
        own_parameters=loss.own_parameters,
    )
    likely = {"Gaussian": (found.deviance / n, found.null_deviance / n)}.get(loss.family, (dispersion, dispersion))
    more = 0.0 if rates is None else _of_totals(rows, rates)
    return replace(
        found,
        log_likelihood=_log_likelihood(rows, rows.margins, likely[0]) + more,
        null_log_likelihood=_log_likelihood(rows, null, likely[1]) + more,
    )


def _of_totals(rows: WeightedRows, rates: Rates) -> float:
    """Return what the log likelihood of totals adds to that of their rates, for any model; collective."""
    if not (rates.weighted and rates.alone):
        return math.nan
    counted = rows.weight > 0.0
    loss, y = rows.objective.loss, rows.objective.shard.label
    return rows.total(loss.total_log_likelihood(y[counted], rows.weight[counted]))


def _pearson(rows: WeightedRows) -> float:
    """Return Pearson's statistic; nan for several outputs; collective."""
    loss = rows.objective.loss
    if rows.objective.outputs > 1 or not loss.family:
        return math.nan
    z, label = apart(rows.margins[:, 0], rows.objective.shard.label)
    mean, y = loss.mean(z), loss.response(label)
    without = rows.total(np.isinf(mean).astype(np.float64)) if loss.link == "inverse" else 0.0
    if without:
        raise ValueError(
            f"{without:g} rows have no mean, because their margins are not above 0: the {loss.family} distribution "
            "does not fit them, and there is no summary"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        each = (y - mean) ** 2 / loss.variance(mean)
    return rows.total(rows.weight * np.where(y == mean, 0.0, each))


def _log_likelihood(rows: WeightedRows, z: Matrix, dispersion: float) -> float:
    """Return the log likelihood of margins; collective."""
    loss, y, counted = rows.objective.loss, rows.objective.shard.label, rows.weight > 0.0
    if not loss.family:
        return math.nan
    t = rows.weight[counted]
    precision, times = (np.ones_like(t), t) if rows.frequency else (t, np.ones_like(t))
    return rows.total(times * loss.log_likelihood(z[counted], y[counted], precision, dispersion))
