"""What `mpiopt.fit` returns: the model, how the fit ended, and the summary of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.compress.channel import Channel
from mpiopt.core.history import Event, HistoryRow
from mpiopt.data.array_checks import check_sparse
from mpiopt.data.shard import CsrRows, DenseRows, Vector
from mpiopt.data.tables.column import Column
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.results.ending import Ending
from mpiopt.results.model import FittedModel
from mpiopt.training.coefficient_bounds import refuse_summary, with_bounds
from mpiopt.training.frames import applied_frame
from mpiopt.training.posed_rows import Settings, canonical, posed_rows
from mpiopt.training.python_call import called
from mpiopt.training.rates import as_rates
from mpiopt.training.ridge_matrix import curvature_of_matrix

if TYPE_CHECKING:
    from mpiopt.inference.summary import InferenceOptions, Summary

Matrix = NDArray[np.float64]

SAME_ROWS = 1e-4  # relative difference of F at the model: rounding makes less on rows that are the same


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted model, equal on all ranks, and how the fit ended.

    Attributes
    ----------
    coef : ndarray, (outputs, d)
        Coefficients in the units of the caller's columns. The margins of a row x are coef · x + intercept.
    intercept : ndarray, (outputs,)
        Constants; 0 without an intercept. For several classes their mean is 0.
    centre : ndarray, (d,)
        What the fit subtracted from the columns.
    intercept_at_centre : ndarray, (outputs,)
        coef · centre + intercept. Where columns are far from 0 against their spread, coef · (x - centre) +
        intercept_at_centre is the more exact way to compute the margins; `margins` does so.
    classes : ndarray or None
        The labels, ascending; None for real targets. With two classes the one output is that of the second.
    loss : str
        Name of the loss.
    objective : float
        F(coef, intercept), in the units of the loss.
    certificate : float
        Bound on the distance to the optimum; see `certificate_kind`.
    certificate_kind : str
        "duality gap"; without a penalty "Newton decrement" (or "standardised gradient" for a loss of a package with
        several outputs). All are relative to the objective. ", exact to rounding" is added where rounding ends all
        progress.
    certified : bool
        Whether the certificate reached `tol`.
    reason : str
        Why the fit ended, in words.
    history : list of HistoryRow
        One row for each exact evaluation: round, epoch, seconds, bytes, objective, certificate, step size.
    events : list of Event
        With "auto", which algorithm began or went on, in which round, and with how many epochs expected.
    settings : Settings or None
        Loss, penalty, intercept and scaling as they were asked for, with the θ that was estimated; `summary` poses
        the same problem again.
    names : list of str or None
        Titles of the columns, if the rows were a frame with titles; of encoded columns, such as "region[south]".
    columns : tuple of Column
        Types, levels, encodings and gaps of the columns of a frame with words or dates; empty for numbers alone.
    ending : str
        "certified", "budget" (spent before the tolerance) or "no optimum" (the loss falls for ever).
    times : dict
        Seconds of each phase, the mean over the ranks: "compile", "compute", "communicate", … and "other". The
        seconds of the history begin after compiling.
    smoothing : float
        For a loss that is smoothed (quantile): by the loss itself F is at most this plus the certified gap above its
        least value. 0 for other losses.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> fit = mpiopt.fit(x, np.array([1.0, 3.0, 5.0, 7.0]), loss="squared", l2=0.0, tol=1e-12)
    >>> fit.certified, fit.coef.round(6).tolist(), fit.intercept.round(6).tolist()
    (True, [[2.0]], [1.0])
    """

    coef: Matrix
    intercept: Vector
    centre: Vector
    intercept_at_centre: Vector
    classes: NDArray[Any] | None
    loss: str
    objective: float
    certificate: float
    certificate_kind: str
    certified: bool
    reason: str
    history: list[HistoryRow]
    events: list[Event]
    settings: Settings | None = None
    names: list[str] | None = None
    columns: tuple[Column, ...] = ()
    ending: str = ""
    times: Mapping[str, float] = field(default_factory=dict)
    smoothing: float = 0.0

    def __repr__(self) -> str:
        """Return one line, however many columns and rounds there are."""
        outputs, d = self.coef.shape
        shape = f"{d} columns" + (f", {outputs} classes" if outputs > 1 else "")
        word = "certified" if self.certified else "NOT certified"
        end = self.history[-1]
        return f"<Fit {self.loss}, {shape}; {word}: {self.reason}; F = {end.objective:.6g}, {end.epoch:g} epochs>"

    def margins(self, x: Any) -> Matrix:
        """Compute the margins of rows, (n, outputs); local.

        Parameters
        ----------
        x : array, scipy.sparse matrix or frame, (n, d)
            The rows, in the units of those of the fit; a frame where the fit had one with words or dates.
        """
        x = applied_frame(x, self.columns)
        model = self.model()
        if not hasattr(x, "tocsr"):
            return model.margins(DenseRows(np.asarray(x)))
        check_sparse(x)
        matrix = canonical(x)
        indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False)
        return model.margins(CsrRows(indptr, indices, matrix.data.astype(np.float64, copy=False), matrix.shape[1]))

    def summary(
        self,
        x: Any,
        y: ArrayLike,
        comm: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        options: InferenceOptions | None = None,
    ) -> Summary:
        """Return standard errors, tests, intervals and measures of fit; collective over `comm`.

        Parameters
        ----------
        x, y, comm, sample_weight, exposure, offset
            The rows of the fit, as `mpiopt.fit` took them: a fit keeps no rows. They may be divided among the ranks
            in another way.
        groups : array, (n,), optional
            The cluster of each row, of any kind that sorts: covariances are clustered. A cluster may span ranks.
        options : InferenceOptions, optional
            Kind of covariance, meaning of the weights, level of the intervals.

        Raises
        ------
        ValueError
            On all ranks: columns that depend on each other, or rows that do not fit the model.
        """
        settings = self.settings
        if settings is None:
            raise ValueError("this fit does not say what it minimised: only fits of mpiopt.fit have a summary")
        refuse_summary(settings.model)
        from mpiopt.inference.clusters import coded
        from mpiopt.inference.summary import InferenceOptions, summarise

        with called(comm) as ranks:
            with ranks.agree_on_errors():
                x = applied_frame(x, self.columns)
                n = np.shape(x)[0] if np.ndim(y) else 0
            given = as_rates(y, sample_weight, exposure, offset, settings.model, ranks)
            posed = posed_rows(x, given.y, given.sample_weight, settings, np.arange(n), ranks, given.offset)
            objective = posed.objective
            wrong = objective.shard.features != self.coef.shape[1] or (objective.outputs != len(self.coef))
            ranks.agree(ValueError("the rows are not those of the fit: other columns or classes") if wrong else None)
            short = groups is not None and len(np.asarray(groups)) != n
            ranks.agree(ValueError("groups must have one entry for each row of x") if short else None)
            channel, w = Channel(ranks, 0), posed.units.to_training(self.model(), objective.width)
            names = self.names or posed.names
            objective = with_bounds(objective, settings.model, posed.units.size, names)
            matrix = curvature_of_matrix(objective, settings.model, names, settings.matrix, ranks)
            value = evaluate_exact(objective, w, channel).value
            if matrix is not None:
                value += 0.5 * float(((w[:, : len(matrix)] @ matrix) * w[:, : len(matrix)]).sum())
            if not abs(value - self.objective) <= SAME_ROWS * max(abs(value), abs(self.objective)):
                raise ValueError(
                    f"the rows are not those of the fit: F is {value:g} here, and was {self.objective:g}"
                )
            return summarise(
                objective,
                w,
                posed.units,
                channel,
                options or InferenceOptions(),
                names=names,
                classes=[] if self.classes is None else [str(label) for label in self.classes.tolist()],
                clusters=None if groups is None else coded(np.asarray(groups), ranks),
                ending=None if self.certified else Ending(self.ending, self.reason),
                rates=given.rates,
                matrix=matrix,
            )

    def model(self) -> FittedModel:
        """Return the coefficients as result files have them; it can be the start of another fit."""
        return FittedModel(
            self.coef,
            self.intercept,
            self.classes,
            feature_names=self.names,
            centre=self.centre,
            intercept_at_centre=self.intercept_at_centre,
        )
