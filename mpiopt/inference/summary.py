"""The summary of a model: coefficients in the units of the file, with standard errors, tests and measures of fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import spec_of
from mpiopt.data.tables.column import GAP
from mpiopt.inference import notes, table
from mpiopt.inference.clusters import Clusters
from mpiopt.inference.collinearity import variance_inflation
from mpiopt.inference.covariance import KINDS, Curvature, DependentColumns, covariance, inverted
from mpiopt.inference.estimates import Estimates, shortened
from mpiopt.inference.goodness import Rates, goodness
from mpiopt.inference.rows import WeightedRows
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.curvature import refuse_infinite, used_columns
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.results.ending import CERTIFIED, NO_OPTIMUM, Ending

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LARGEST = 5000  # parameters: their curvature takes 200 MB
INTERCEPT = "const"
GAP_LEVEL = f"[{GAP}]"  # end of the name of a feature that says where gaps are
ESTIMATED = "theta was estimated: AIC and BIC count it; errors are those for a theta that is given."
UNCERTIFIED = "The figures below are those of a model that may be far from the optimum."


@dataclass(frozen=True)
class InferenceOptions:
    """What a summary computes.

    Parameters
    ----------
    covariance : str
        "model", "HC0", "HC1", "HC2", "HC3" or "cluster"; "auto": by the model where the loss is a likelihood, HC0
        otherwise, "cluster" where there are clusters.
    weights : str
        "frequency": a row of weight 2 stands for two rows; "precision": for one row of half the variance. "auto":
        precision for shares (weights are their trials), else frequency.
    information : str
        "observed" curvature of the loss, or the one "expected" of targets with the model's means.
    level : float
        Of the intervals, between 0 and 1.

    Raises
    ------
    ValueError
        If a value is not allowed; the message lists the allowed ones.

    Examples
    --------
    >>> InferenceOptions(covariance="HC3").level
    0.95
    """

    covariance: str = "auto"
    weights: str = "auto"
    information: str = "observed"
    level: float = 0.95

    def __post_init__(self) -> None:
        allowed = {
            "covariance": ("auto", *KINDS),
            "weights": ("auto", "frequency", "precision"),
            "information": ("observed", "expected"),
        }
        for name, choices in allowed.items():
            value = getattr(self, name)
            if value not in choices:
                hint = nearest(str(value), choices)
                raise ValueError(f"{name} must be one of {', '.join(choices)}; not {value!r}{hint}")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level must be between 0 and 1, not {self.level}")


@dataclass(frozen=True, eq=False)
class Summary(Estimates):
    """Estimates with their uncertainty, equal on all ranks, in the units of the rows as they were given.

    Attributes
    ----------
    names : tuple of str
        Name of each parameter; the constant is "const". For several classes "class: column", the class against the
        first one.
    coef : ndarray, shape (k,)
        Estimates.
    covariance : ndarray, shape (k, k)
        Covariance of the estimates.
    covariance_kind : str
        How it was computed: "model", "HC0" … or "cluster".
    df : float
        Degrees of freedom of Student's t; inf where the normal distribution is used.
    level : float
        Of the intervals.
    loss, penalty : str
        The loss and the penalty, with options.
    family, link : str
        The distribution and its link; "" if the loss is no likelihood.
    goodness : Goodness
        Deviance, log likelihood, dispersion and the like.
    inflation : ndarray, shape (k,)
        Variance inflation; nan for constants and where it was not computed.
    notes : tuple of str
        What a reader must know: penalties, distance from the optimum, weights.
    warning : str
        Why the model may be far from the optimum; "" for a certified one. It stands above the table.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> y = np.array([1.0, 3.5, 4.5, 7.0, 9.0])
    >>> found = mpiopt.fit(x, y, loss="squared", l2=0.0, tol=1e-12).summary(x, y)
    >>> found.names, found.coef.round(3).tolist(), found.standard_errors.round(3).tolist()
    (('const', 'x1'), [1.1, 1.95], [0.308, 0.126])
    """

    def text(self) -> str:
        """Return the table in at most 80 columns."""
        return table.text(self)

    def csv(self) -> str:
        """Return the coefficients as CSV with all digits."""
        return table.csv(self)

    def latex(self) -> str:
        """Return the coefficients as a LaTeX tabular."""
        return table.latex(self)

    def frame(self) -> Any:
        """Return the coefficients as a pandas frame, indexed by name."""
        return table.frame(self)

    def __str__(self) -> str:
        return self.text()


class _Reported(NamedTuple):
    """What is reported of the parameters of training: parameter i = `map[i]` · all of them, output by output."""

    map: Matrix  # (reported, all)
    names: list[str]
    features: NDArray[np.int64]  # (reported,) feature of each; -1 for a constant
    own: NDArray[np.bool_]  # (reported, all) the parameters of the same column, in the outputs that are compared


def summarise(
    objective: Objective,
    w: Matrix,
    units: ColumnUnits,
    channel: Channel,
    options: InferenceOptions,
    names: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    clusters: Clusters | None = None,
    ending: Ending | None = None,
    rates: Rates | None = None,
    matrix: Matrix | None = None,
) -> Summary:
    """Summarise a model from its rows; collective.

    Parameters
    ----------
    objective : Objective
        This rank's share.
    w : ndarray, shape (outputs, width)
        The model in the columns of the objective.
    units : ColumnUnits
        From these columns to those of the file.
    channel : Channel
        The ranks.
    options : InferenceOptions
        What to compute.
    names : sequence of str, optional
        Names of the features; x1, x2 … by default.
    classes : sequence of str
        Names of the classes, for several outputs.
    clusters : Clusters, optional
        The clusters of this rank's rows.
    ending : Ending, optional
        How the run ended that found the model; certified by default.
    rates : Rates, optional
        How the targets are weighted, if they are rates: of an exposure, or of an offset on a logarithmic scale.
    matrix : ndarray, shape (d, d), optional
        Second derivatives of a ridge with a matrix, without those of l2.

    Raises
    ------
    ValueError
        On all ranks: a model without an optimum, columns that depend on each other, too many parameters, a loss
        without standard errors.
    """
    loss, d, outputs = objective.loss, used_columns(objective), objective.outputs
    refuse_no_optimum(ending)
    kind = _kind(objective, options, clusters)
    frequency = _are_frequencies(options, loss, rates)
    rows = WeightedRows(replace(objective, penalty=Penalty.make("none")), w, frequency, channel)
    features = list(names) if names is not None else [f"x{j + 1}" for j in range(objective.shard.features)]
    chosen = w[:, :d].ravel() != 0.0  # with l1, the columns whose coefficients are 0 are left out
    chosen |= np.tile(objective.threshold[:d] == 0.0, outputs)
    held = np.zeros(len(chosen), bool) if objective.bounds is None else objective.bounds.reached(w)[0, :d]
    chosen &= ~held
    free = np.flatnonzero(chosen)
    ridge = _ridge(objective, matrix)
    found = _curvature(objective, rows, free, ridge, options, [*features, INTERCEPT])
    fit = goodness(rows, found.freedom, rates)
    inner = covariance(kind, rows, found, fit.dispersion, fit.observations, clusters)
    reported = _reported(units, features, classes, outputs)
    kept = np.flatnonzero((reported.own & chosen).any(axis=1))
    to_file = reported.map[np.ix_(kept, free)]
    of_file = to_file @ inner @ to_file.T
    inflation = _inflation(rows, reported.features[kept])
    steps = to_file @ (found.inverse @ _gradient(objective, rows, ridge)[free])
    shown = [reported.names[i] for i in kept]
    return Summary(
        names=tuple(shown),
        coef=reported.map[kept] @ w[:, :d].ravel() + units.label_origin * (reported.features[kept] < 0),
        covariance=of_file,
        covariance_kind=kind,
        df=fit.residual_df if loss.family == "Gaussian" and kind == "model" else math.inf,
        level=options.level,
        loss=str(spec_of(loss)),
        penalty=str(spec_of(objective.penalty)),
        family=loss.family,
        link=loss.link if loss.family else "",
        goodness=fit,
        inflation=inflation,
        notes=(
            *notes.on_weights(rows, rates),
            *([ESTIMATED] if loss.own_parameters else []),
            *notes.on_penalty(objective, len(kept), int(held.sum()), matrix is not None),
            *notes.on_estimates(steps / np.sqrt(np.diag(of_file)), inflation, shown),
        ),
        warning="" if ending is None or ending.kind == CERTIFIED else f"{ending.text}. {UNCERTIFIED}",
    )


def refuse_no_optimum(ending: Ending | None) -> None:
    """Raise ValueError if the run has found that there is no optimum: there is nothing to estimate then."""
    if ending is not None and ending.kind == NO_OPTIMUM:
        raise ValueError(f"{ending.reason}; without an optimum there are no standard errors")


def _curvature(
    objective: Objective,
    rows: WeightedRows,
    free: NDArray[np.int64],
    ridge: Matrix,
    options: InferenceOptions,
    names: Sequence[str],
) -> Curvature:
    """Invert the curvature in the free parameters; ValueError if they are too many or depend on each other."""
    if len(free) > LARGEST:
        raise ValueError(f"a summary is for up to {LARGEST} parameters; this model has {len(free)}")
    d, outputs = used_columns(objective), objective.outputs
    loss_part = rows.hessian(options.information == "expected")
    refuse_infinite(loss_part)
    try:
        return inverted(loss_part, ridge, _ignored(np.diag(ridge), outputs), free)
    except DependentColumns as fault:
        raise ValueError(_dependent(fault.parameters, names, d)) from None


def _ridge(objective: Objective, matrix: Matrix | None) -> Matrix:
    """Return the second derivatives of the penalty, times the sum of the weights, output by output."""
    one = np.diag(objective.ridge[: used_columns(objective)])
    if matrix is not None:
        one[: len(matrix), : len(matrix)] += matrix
    whole = objective.shard.total * objective.shard.weight_unit
    return np.asarray(np.kron(np.eye(objective.outputs), one * whole), np.float64)


def _kind(objective: Objective, options: InferenceOptions, clusters: Clusters | None) -> str:
    """Return the covariance to compute; ValueError if the loss or the penalty has none of that kind."""
    loss, kind = objective.loss, options.covariance
    if objective.outputs > 1 and loss.name != "softmax":
        raise ValueError(f"a summary takes losses with one output, or softmax, not {loss.name}")
    if objective.outputs > 1 and objective.threshold.any():
        raise ValueError("a summary of several classes takes no l1: which columns it chooses depends on the class")
    if kind == "auto":
        kind = "cluster" if clusters is not None else "model" if loss.family else "HC0"
    if kind == "model" and not loss.family:
        raise ValueError(
            f"the loss {loss.name} is no likelihood, so its model has no covariance; take HC0 or cluster"
        )
    if (kind == "cluster") != (clusters is not None):
        missing = "needs the cluster of each row" if kind == "cluster" else "takes no clusters"
        raise ValueError(f"covariance {kind} {missing}")
    return kind


def _ignored(ridge: Vector, outputs: int) -> Matrix:
    """Return the projection onto equal moves of all outputs of a column without a ridge; zeros for one output."""
    free = ridge[: len(ridge) // outputs] == 0.0
    return np.kron(np.full((outputs, outputs), float(outputs > 1) / outputs), np.diag(free.astype(np.float64)))


def _dependent(parameters: NDArray[np.int64], names: Sequence[str], d: int) -> str:
    """Return the message for columns that depend on each other; the constant is the last name."""
    columns = sorted({int(k) % d for k in parameters})
    listed = shortened(", ".join(names[j] for j in columns))
    if len(columns) == 1:
        return f"column {listed} has no spread where the model has curvature: it has no standard error; leave it out"
    levels = any("[" in names[j] and not names[j].endswith(GAP_LEVEL) for j in columns)
    advice = "leave one out (of levels: encode onehot[drop=first])" if levels else "leave one out"
    return f"columns {listed} depend on each other: they have no standard errors; {advice}, or use l2"


def _reported(units: ColumnUnits, features: Sequence[str], classes: Sequence[str], outputs: int) -> _Reported:
    """Return the parameters to report: the constant, then the features; for each class but the first of several."""
    u, d, constants = units.matrix(), len(features), int(units.intercept)
    order = np.append(np.arange(d, d + constants), np.arange(d))
    contrast = np.ones((1, 1)) if outputs == 1 else np.column_stack([-np.ones(outputs - 1), np.eye(outputs - 1)])
    names = [INTERCEPT] * constants + list(features)
    titles = names if outputs == 1 else [f"{label}: {name}" for label in classes[1:] for name in names]
    one = np.where(order < d, order, -1)
    own = np.kron(contrast != 0.0, np.eye(d + constants)[order]) != 0.0
    return _Reported(np.asarray(np.kron(contrast, u[order]), np.float64), titles, np.tile(one, len(contrast)), own)


def _inflation(rows: WeightedRows, features: NDArray[np.int64]) -> Vector:
    """Return the variance inflation of each reported feature; nan for constants and where it does not exist."""
    found = np.full(len(features), math.nan)
    columns = np.unique(features[features >= 0])
    if len(columns):
        try:
            each = dict(zip(columns.tolist(), variance_inflation(rows, columns), strict=True))
        except np.linalg.LinAlgError:  # columns depend on each other: a ridge has made the coefficients unique
            return found
        found[features >= 0] = [each[j] for j in features[features >= 0].tolist()]
    return found


def _gradient(objective: Objective, rows: WeightedRows, ridge: Matrix) -> Vector:
    """Return the gradient of the whole objective, times the sum of the weights, as far as it has one; collective."""
    d, whole = rows.used, objective.shard.total * objective.shard.weight_unit
    w = rows.w[:, :d]
    return rows.gradient() + ridge @ w.ravel() + whole * (objective.threshold[:d] * np.sign(w)).ravel()


def _are_frequencies(options: InferenceOptions, loss: Loss, rates: Rates | None) -> bool:
    """Return whether a row of weight 2 stands for two rows; ValueError if that is asked for and cannot be."""
    exposures = rates is not None and rates.weighted
    if exposures and options.weights == "frequency":
        raise ValueError("the weights are exposures, and no frequencies: a row of exposure 2 is one row")
    return options.weights == "frequency" or (options.weights == "auto" and loss.target != "rate" and not exposures)
