"""`mpiopt.fit`: fit a model to rows in memory, of which each rank holds its own part."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.core.config.job import COORDINATES, GIVEN, SCALES, Job, Model, Stopping
from mpiopt.core.config.spec import parse_spec, spec_of
from mpiopt.core.history import Clock
from mpiopt.data.shard import Vector
from mpiopt.kernels.kernel_cache import compile_seconds
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.ending import CERTIFIED
from mpiopt.results.model import FittedModel, in_file_units
from mpiopt.training.channel_setup import open_channel
from mpiopt.training.coefficient_bounds import Pair, kept_within, text_of
from mpiopt.training.fitted import Fit
from mpiopt.training.frames import encoded_frame
from mpiopt.training.initial import Columns, matched_model, with_initial
from mpiopt.training.lasso_groups import text_of_groups
from mpiopt.training.loop import run
from mpiopt.training.posed_rows import PosedRows, Settings, order_of_rows, posed_rows
from mpiopt.training.problem import pick, refuse_infinite
from mpiopt.training.profile import profiled
from mpiopt.training.progress import Lines, Progress
from mpiopt.training.python_call import called
from mpiopt.training.rates import as_rates
from mpiopt.training.rehearsal import compile_kernels
from mpiopt.training.run_state import RunPlan, RunState, count_loop, mean_times
from mpiopt.training.structure import structured
from mpiopt.training.uncertified import warn_uncertified

if TYPE_CHECKING:
    from mpiopt.data.tables.frame import EncodedFrame

Matrix = NDArray[np.float64]

COLUMN_SCALES = SCALES[:3]  # the ways to scale that act on columns


def fit(
    x: Any,
    y: ArrayLike,
    comm: Any = None,
    *,
    sample_weight: ArrayLike | None = None,
    exposure: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    loss: str = "auto",
    l1: float = 0.0,
    l2: float | str = "1/N",
    nonnegative: bool = False,
    bounds: Mapping[str, Pair] | str | None = None,
    l1_groups: Sequence[Sequence[str]] | str | None = None,
    ridge_matrix: ArrayLike | str | None = None,
    ridge_strength: float = 1.0,
    intercept: bool = True,
    scale: str = "none",
    coordinates: str = "standardised",
    algorithm: str = "auto",
    compress: str = "none",
    memory: str = "auto",
    downlink: bool = False,
    tol: float = 1e-6,
    max_epochs: float = 1000.0,
    max_seconds: float = float("inf"),
    seed: int = 0,
    columns: Mapping[str, Any] | None = None,
    init: Fit | FittedModel | str | None = None,
    verbose: int = 0,
) -> Fit:
    """Fit a model to the rows of all ranks; collective over `comm`.

    The objective is (1/N) Σ s_i loss(W x_i + b, y_i) + l1 ‖W‖₁ + (l2/2) ‖W‖², with weights s_i of mean 1 and N the
    number of rows on all ranks.

    Parameters
    ----------
    x : array, sparse matrix or frame, (n, d)
        This rank's rows; n may differ from rank to rank and may be 0. A sparse matrix needs the method `tocsr`. A
        frame of pandas, Polars or Arrow may have columns of words, booleans and dates, which are encoded.
    y : array, (n,)
        Labels of any kind that sorts, for classes; numbers, for real targets.
    comm : mpi4py communicator, Comm or None
        The ranks; None means one rank. An mpi4py communicator is duplicated, and the duplicate is freed at the end.
    sample_weight : array, (n,), optional
        Weights of the rows, at least 0; all 1 by default. Only their ratios matter.
    exposure : array, (n,), optional
        The expected target is that of an exposure of 1 times it, for losses with a logarithmic link: poisson (by
        default), gamma, tweedie, negative-binomial.
    offset : array, (n,), optional
        Added to the margins of the rows in the fit, for every loss but softmax. `margins` is without it, and for an
        exposure of 1.
    loss : str
        "logistic", "softmax", "squared-hinge", "squared", "huber", "quantile", "poisson", "negative-binomial",
        "gamma", "inverse-gaussian", "tweedie" or "binomial", with options in brackets: "huber[delta=0.5]". "auto"
        chooses by the labels.
    l1 : float
        Strength of the lasso penalty, at least 0. For a lasso give l2=0.0, too: with the default l2 it is an elastic
        net.
    l2 : float or str
        Strength of the ridge penalty, at least 0; "1/N", the default, divides 1 by the sum of the weights.
    nonnegative : bool
        Whether all coefficients are kept at 0 or above, but for the intercept.
    bounds : mapping or str, optional
        The least and the largest coefficient of columns, by title (x1, x2 … without titles): {"age": (0, None)}, or
        the text "age=0:,income=-1:1". A title may have wildcards. Bounds need an l1 or an l2.
    l1_groups : sequence of sequences of str, or str, optional
        Columns whose coefficients are 0 together: l1 is then the strength of a group lasso. Titles, with wildcards,
        as [["north", "south"], ["age*"]] or "north+south,age*"; "columns": the features of each column of a frame.
    ridge_matrix : array, (d, d), or str, optional
        S of the penalty (ridge_strength/2) wᵀSw beside (l2/2) ‖w‖², symmetric and without eigenvalues below 0, for a
        smooth penalty without bounds; the name of a file that has it; or "splines": the sum of squares of second
        differences of the coefficients of each spline of a frame.
    ridge_strength : float
        Strength of `ridge_matrix`, at least 0.
    intercept : bool
        Whether to fit the constants b, which are not penalised.
    scale : str
        "none", "standard" (mean 0, deviation 1) or "maxabs" (largest entry 1) of the columns during the fit.
    coordinates : str
        The columns in which algorithms work: "standardised" (centred where there is an intercept, of typical size 1)
        or "file" (as they are). Penalty and model are in the units of `x` in both.
    algorithm : str
        Name of an algorithm with options in brackets; "auto" chooses by the size of the problem.
    compress : str
        Compressor of the exchanges with options in brackets; "none", or "auto" to choose by measured speeds.
    memory : str
        Error compensation of compressed exchanges: "none", "difference", "error-feedback"; "auto" is the
        algorithm's own.
    downlink : bool
        Whether to compress the way back from a sum, too.
    tol : float
        Tolerance of the certificate, greater than 0.
    max_epochs : float
        Budget of epochs (passes over all rows), at least 0.
    max_seconds : float
        Budget of seconds, at least 0.
    seed : int
        Seed of all randomness, at least 0.
    columns : mapping, optional
        How the columns of a frame are encoded: `gaps`, `encode`, `categorical`, `numeric`, `drop`, `columns`,
        `unseen`, `max_levels`, as in the table [data.columns] of a job file.
    init : Fit, FittedModel or str, optional
        A model to start from, or the result file that has it, with coefficients by the titles of columns, if both
        have titles. Where F is lower at 0 the fit starts there.
    verbose : int
        1 prints the progress on rank 0.

    Returns
    -------
    Fit
        The model and how the fit ended. Look at `certified`: a fit that has spent its budget returns, too.

    Raises
    ------
    ValueError
        On all ranks: labels that fit no loss, NaN in the rows, an unknown name or an option out of range.

    Warns
    -----
    ConvergenceWarning
        On rank 0: the fit is not certified. The warning says why and what to do.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = np.where(x @ [1.0, -2.0, 0.0] > 0, "yes", "no")
    >>> fit = mpiopt.fit(x, y, l2=0.01)
    >>> fit.certified, fit.loss, fit.classes.tolist(), fit.coef.shape
    (True, 'logistic', ['no', 'yes'], (1, 3))
    """
    loss = "poisson" if loss == "auto" and exposure is not None else loss
    model = Model(parse_spec(loss), l1, l2, nonnegative, text_of(bounds), text_of_groups(l1_groups))
    named = ridge_matrix if isinstance(ridge_matrix, str) else ("" if ridge_matrix is None else GIVEN)
    model = replace(model, ridge_matrix=named, ridge_strength=ridge_strength)
    given_matrix = None if isinstance(ridge_matrix, str) else ridge_matrix
    settings = Settings(model, intercept, scale, coordinates, given_matrix)
    stopping = Stopping(tol, max_epochs, max_seconds)
    exchange = Job(compress=parse_spec(compress), memory=memory, downlink=downlink, seed=seed)
    for name, value, allowed in (("scale", scale, COLUMN_SCALES), ("coordinates", coordinates, COORDINATES)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; not {value!r}")
    if not isinstance(intercept, bool | np.bool_):
        raise ValueError(f"intercept must be True or False, not {intercept!r}")
    with called(comm) as ranks:
        began, compiled, clock = time.perf_counter(), compile_seconds(), Clock()
        frame = encoded_frame(x, columns, ranks)
        x = x if frame is None else frame.matrix
        order, parts = order_of_rows(x, y, seed, ranks)
        given = as_rates(y, sample_weight, exposure, offset, settings.model, ranks)
        posed = posed_rows(x, given.y, given.sample_weight, settings, order, ranks, given.offset, parts)
        objective, d = posed.objective, posed.objective.shard.features
        refuse_infinite(objective, "y", ranks)
        titles = posed.names if frame is None else frame.names
        if init is not None:
            wanted = Columns(d, titles, posed.classes, objective.outputs)
            with ranks.agree_on_errors():
                first = matched_model(model_of(init), wanted, init if isinstance(init, str) else "init")
            objective = with_initial(objective, first, posed.units)
        objective, basis = structured(objective, model, posed.units, titles, ranks, given_matrix)
        objective = objective if basis is None else basis.posed
        objective, estimated = profiled(objective, stopping, ranks, StopSignal())
        if estimated:
            settings = replace(settings, model=replace(settings.model, loss=parse_spec(str(spec_of(objective.loss)))))
        portfolio, _ = pick(parse_spec(algorithm), objective, tol, ranks, exchange.compress.name)
        channel, portfolio, _ = open_channel(exchange, objective, portfolio, ranks)
        clock.add("compile", compile_seconds() - compiled)
        compile_kernels(objective, portfolio, ranks, clock, lambda line: None)
        started, compiled = time.perf_counter(), compile_seconds()
        shown = Lines(stopping, print) if verbose and ranks.rank == 0 else Progress(stopping)
        now = run(RunPlan(stopping), objective, portfolio, channel, StopSignal(), clock, shown.show)
        shown.end()
        if basis is not None:
            now, objective = basis.ended(now)
        count_loop(clock, channel, time.perf_counter() - started, compile_seconds() - compiled)
        times = mean_times(clock, time.perf_counter() - began, ranks)
        result = _in_units_of_the_caller(now, objective, posed, settings, titles, frame, times)
        warn_uncertified(result, tol, ranks)
    return result


def _in_units_of_the_caller(
    now: RunState,
    objective: Objective,
    posed: PosedRows,
    settings: Settings,
    titles: list[str] | None,
    frame: EncodedFrame | None,
    times: Mapping[str, float],
) -> Fit:
    """Return what a run has found, for the columns and labels as the caller has them."""
    d = posed.objective.shard.features
    fitted = in_file_units(now.state.w, d, settings.intercept, posed.mean, posed.scale, posed.coordinates)
    fitted = kept_within(fitted, settings.model, titles)
    at_centre = fitted.intercept if fitted.intercept_at_centre is None else fitted.intercept_at_centre
    return Fit(
        coef=fitted.coef,
        intercept=centred(fitted.intercept),
        centre=np.zeros(d) if fitted.centre is None else fitted.centre,
        intercept_at_centre=centred(at_centre),
        classes=posed.classes,
        loss=objective.loss.name,
        objective=now.exact.value,
        certificate=now.certificate.value,
        certificate_kind=now.certificate.kind,
        certified=now.ending == CERTIFIED,
        reason=now.reason_in_names(titles),
        history=now.rows,
        events=now.events,
        settings=settings,
        names=titles,
        columns=() if frame is None else frame.columns,
        ending=now.ending,
        times=times,
        smoothing=objective.loss.smoothing,
    )


def model_of(init: Fit | FittedModel | str) -> FittedModel:
    """Return the model of a fit or of a result file; ValueError for anything else."""
    if isinstance(init, Fit):
        return init.model()
    if not isinstance(init, FittedModel | str):
        raise ValueError(f"init is a Fit, a FittedModel or the name of a result file, not {type(init).__name__}")
    if isinstance(init, FittedModel):
        return init
    from mpiopt.results.result_file import read_result

    return read_result(init).model


def centred(intercept: Vector) -> Vector:
    """Return constants of several classes with mean 0: adding a number to all of them changes no prediction."""
    return intercept - intercept.mean() if len(intercept) > 1 else intercept
