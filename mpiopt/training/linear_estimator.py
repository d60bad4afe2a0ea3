"""The common part of the estimators: parameters, `fit` on rows that are spread over ranks, `summary`, margins.

Every rank of `comm` calls `fit` with its own rows. The model is then equal on all ranks, and `predict` is local. The
parameters are those of `mpiopt.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.inference.summary import InferenceOptions, Summary
from mpiopt.results.model import FittedModel
from mpiopt.training import frame_names, validation
from mpiopt.training.fit import fit
from mpiopt.training.fitted import Fit
from mpiopt.training.frames import has_words
from mpiopt.training.initial import Columns, matched_model
from mpiopt.training.python_call import called
from mpiopt.training.sklearn_base import BaseEstimator

Vector = NDArray[np.float64]

OF_ESTIMATORS = ("comm", "warm_start", "class_weight")  # parameters that `mpiopt.fit` has not, or not as a value


@dataclass(eq=False, repr=False)
class LinearEstimator(BaseEstimator):  # type: ignore[misc]
    """The common part of `Classifier` and `Regressor`; their docstrings describe the parameters."""

    loss: str = "auto"
    l1: float = 0.0
    l2: float | str = "1/N"
    intercept: bool = True
    scale: str = "none"
    algorithm: str = "auto"
    tol: float = 1e-6
    max_epochs: float = 1000.0
    seed: int = 0
    comm: Any = None
    columns: Any = None
    warm_start: bool = False
    coordinates: str = "standardised"
    compress: str = "none"
    memory: str = "auto"
    downlink: bool = False
    max_seconds: float = float("inf")
    nonnegative: bool = False
    bounds: Any = None
    l1_groups: Any = None
    ridge_matrix: Any = None
    ridge_strength: float = 1.0
    init: Any = None
    verbose: int = 0

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a model."""
        return hasattr(self, "fit_")

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator can do, in scikit-learn's form."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to the rows of all ranks; collective.

        Parameters
        ----------
        X : array, sparse matrix or frame, (n, d)
            This rank's rows. A frame may have columns of words, booleans and dates.
        y : array, (n,)
            Labels or targets.
        sample_weight : array, (n,), optional
            Weights of the rows, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            On all ranks: rows, labels or parameters that do not fit.

        Warns
        -----
        ConvergenceWarning
            On rank 0: the fit is not certified. The warning says why and what to do.
        """
        with called(self.comm) as ranks:
            with ranks.agree_on_errors():
                names = frame_names.feature_names(X)
                frame = self.columns is not None or has_words(X)
            frame = bool(ranks.max(np.array([frame]))[0])  # a rank without rows has no words
            with ranks.agree_on_errors():
                x, target = self._checked(X, y, frame, ranks.size)
            ranks.agree(frame_names.different_names(names, ranks))
            options = {key: value for key, value in self.get_params().items() if key not in OF_ESTIMATORS}
            weight = self._weights(target, sample_weight, ranks)
            start = None if frame else self._start(names, ranks)
            options["init"] = self.init if start is None else start
            found = fit(x, target, ranks, sample_weight=weight, **options)
            titles = found.names if found.columns or names is None else [str(name) for name in names]
            self.fit_: Fit = replace(found, names=titles)
        self.n_iter_ = self.fit_.history[-1].round
        self.n_features_in_ = self.fit_.coef.shape[1] if names is None else len(names)
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names
        return self

    def summary(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        options: InferenceOptions | None = None,
    ) -> Summary:
        """Return standard errors, tests and measures of fit; collective. The rows are those of the fit.

        Parameters
        ----------
        X, y, sample_weight
            The rows, as `fit` took them.
        groups : array, (n,), optional
            The cluster of each row.
        options : InferenceOptions, optional
            Kind of covariance, meaning of the weights, level of the intervals.
        """
        if not hasattr(self, "fit_"):
            raise validation.not_fitted(type(self).__name__)
        frame = frame_names.matched(X, getattr(self, "feature_names_in_", None), type(self).__name__)
        rows, target = validation.checked_rows(frame, self.n_features_in_, type(self).__name__), np.asarray(y)
        with called(self.comm) as ranks:
            weight = self._weights(target, sample_weight, ranks)
            return self.fit_.summary(rows, target, ranks, sample_weight=weight, groups=groups, options=options)

    def _weights(self, y: NDArray[Any], sample_weight: ArrayLike | None, ranks: Comm) -> NDArray[Any] | None:
        """Return the weights of this rank's rows, None if all are 1; collective."""
        return None if sample_weight is None else np.asarray(sample_weight)

    def _start(self, names: NDArray[Any] | None, ranks: Comm) -> FittedModel | None:
        """Return the model of the fit before, its coefficients by the titles of the columns of this one."""
        if not (self.warm_start and hasattr(self, "fit_")):
            return None
        model = self.fit_.model()
        if names is None:
            return replace(model, feature_names=None)
        with ranks.agree_on_errors():
            wanted = Columns(len(names), [str(name) for name in names], model.classes, len(model.coef))
            return matched_model(model, wanted, "the fit before")

    def _checked(self, x: Any, y: Any, frame: bool, size: int) -> tuple[Any, NDArray[Any]]:
        target = validation.checked_labels(y)
        if frame:
            return x, self._target(target)
        matrix = validation.checked_rows(x, None, type(self).__name__)
        if size == 1:
            validation.refuse_empty(matrix)
        return matrix, self._target(target)

    def get_feature_names_out(self) -> NDArray[Any]:
        """Return the names of the coefficients, (d,), such as "region[south]"; x0, x1, … for rows without titles."""
        if not hasattr(self, "fit_"):
            raise validation.not_fitted(type(self).__name__)
        names = self.fit_.names or [f"x{place}" for place in range(self.fit_.coef.shape[1])]
        return np.asarray(names, dtype=object)

    def _target(self, y: NDArray[Any]) -> NDArray[Any]:
        raise NotImplementedError

    def _margins(self, x: Any) -> Vector:
        if not hasattr(self, "fit_"):
            raise validation.not_fitted(type(self).__name__)
        if self.fit_.columns:
            z = self.fit_.margins(x)
            return z[:, 0] if z.shape[1] == 1 else z
        frame = frame_names.matched(x, getattr(self, "feature_names_in_", None), type(self).__name__)
        rows = validation.checked_rows(frame, self.n_features_in_, type(self).__name__)
        z = self.fit_.margins(rows)
        return z[:, 0] if z.shape[1] == 1 else z
