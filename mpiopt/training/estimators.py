"""Estimators with the interface of scikit-learn, on rows that are spread over ranks.

Every rank of `comm` calls `fit` with its own rows. The model is then equal on all ranks, and `predict` is local. The
parameters are those of `mpiopt.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.results.model import expected, probabilities
from mpiopt.training import validation
from mpiopt.training.fit import Fit, communicator, fit

Vector = NDArray[np.float64]


@dataclass(eq=False)
class LinearEstimator:
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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool
            Part of scikit-learn's interface; without effect, since no parameter is an estimator.
        """
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, and return the estimator.

        Raises
        ------
        ValueError
            If there is no parameter of that name.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; known: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a model."""
        return hasattr(self, "fit_")

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to the rows of all ranks; collective.

        Parameters
        ----------
        X : array or sparse matrix, (n, d)
            This rank's rows.
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
        """
        with communicator(self.comm) as ranks:
            with ranks.agree_on_errors():
                x, target = self._checked(X, y, ranks.size)
            options = {name: value for name, value in self.get_params().items() if name != "comm"}
            weight = None if sample_weight is None else np.asarray(sample_weight)
            self.fit_: Fit = fit(x, target, ranks, sample_weight=weight, **options)
        self.n_features_in_ = self.fit_.coef.shape[1]
        return self

    def _checked(self, x: Any, y: Any, size: int) -> tuple[Any, NDArray[Any]]:
        matrix, target = validation.checked_rows(x, None, type(self).__name__), validation.checked_labels(y)
        if size == 1:
            validation.refuse_empty(matrix)
        return matrix, self._target(target)

    def _target(self, y: NDArray[Any]) -> NDArray[Any]:
        raise NotImplementedError

    def _margins(self, x: Any) -> Vector:
        if not hasattr(self, "fit_"):
            raise validation.not_fitted(type(self).__name__)
        rows = validation.checked_rows(x, self.n_features_in_, type(self).__name__)
        z = np.asarray(rows @ self.fit_.coef.T) + self.fit_.intercept
        return z[:, 0] if z.shape[1] == 1 else z


@dataclass(eq=False)
class Regressor(LinearEstimator):
    """A linear model of numbers.

    Parameters
    ----------
    loss : str, default "squared"
        "squared", "huber" (with its option: "huber[delta=0.5]") or "poisson", which predicts expected counts.
    l1 : float, default 0.0
        Strength of the lasso penalty, at least 0.
    l2 : float or str, default "1/N"
        Strength of the ridge penalty, at least 0; "1/N" divides 1 by the sum of the weights.
    intercept : bool, default True
        Whether to fit constants, which are not penalised.
    scale : str, default "none"
        "none", "standard" (mean 0, deviation 1) or "maxabs" (largest entry 1) of the columns during the fit.
    algorithm : str, default "auto"
        Name of an algorithm with options in brackets; "auto" chooses by the size of the problem.
    tol : float, default 1e-6
        Tolerance of the certificate, greater than 0.
    max_epochs : float, default 1000
        Budget of epochs (passes over all rows), at least 0.
    seed : int, default 0
        Seed of all randomness, at least 0.
    comm : mpi4py communicator, Comm or None, default None
        The ranks; None means one rank.

    Attributes
    ----------
    coef_ : ndarray, (d,)
        Coefficients.
    intercept_ : float
        The constant.
    n_features_in_ : int
        Number of columns d.
    fit_ : Fit
        What `mpiopt.fit` returned, with the history and the certificate.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = mpiopt.Regressor(l2=0.0, tol=1e-12).fit(x, [1.0, 3.0, 5.0, 7.0])
    >>> model.predict([[10.0]]).round(6).tolist(), round(model.score(x, [1.0, 3.0, 5.0, 7.0]), 6)
    ([21.0], 1.0)
    """

    loss: str = "squared"

    @property
    def coef_(self) -> Vector:
        """Coefficients (d,)."""
        return np.asarray(self.fit_.coef[0])

    @property
    def intercept_(self) -> float:
        """The constant."""
        return float(self.fit_.intercept[0])

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator can do, in scikit-learn's form."""
        return validation.sklearn_tags("regressor")

    def _target(self, y: NDArray[Any]) -> NDArray[Any]:
        return validation.real_targets(y)

    def predict(self, X: Any) -> Vector:
        """Return the expected target of each row of `X` (n, d), as (n,)."""
        return expected(self._margins(X), self.fit_.loss)

    def score(self, X: Any, y: ArrayLike) -> float:
        """Return R² on the rows `X` (n, d) with targets `y` (n,); local."""
        target = np.asarray(y, dtype=np.float64)
        return float(1.0 - ((target - self.predict(X)) ** 2).sum() / ((target - target.mean()) ** 2).sum())


@dataclass(eq=False)
class Classifier(LinearEstimator):
    """A linear classifier.

    Parameters
    ----------
    loss : str, default "auto"
        "logistic", "softmax" or "squared-hinge"; "auto" is logistic for two classes and softmax for more.
    l1 : float, default 0.0
        Strength of the lasso penalty, at least 0.
    l2 : float or str, default "1/N"
        Strength of the ridge penalty, at least 0; "1/N" divides 1 by the sum of the weights.
    intercept : bool, default True
        Whether to fit constants, which are not penalised.
    scale : str, default "none"
        "none", "standard" (mean 0, deviation 1) or "maxabs" (largest entry 1) of the columns during the fit.
    algorithm : str, default "auto"
        Name of an algorithm with options in brackets; "auto" chooses by the size of the problem.
    tol : float, default 1e-6
        Tolerance of the certificate, greater than 0.
    max_epochs : float, default 1000
        Budget of epochs (passes over all rows), at least 0.
    seed : int, default 0
        Seed of all randomness, at least 0.
    comm : mpi4py communicator, Comm or None, default None
        The ranks; None means one rank.

    Attributes
    ----------
    classes_ : ndarray, (classes,)
        The labels, ascending.
    coef_ : ndarray, (1, d) or (classes, d)
        Coefficients; for two classes those of the second.
    intercept_ : ndarray, (1,) or (classes,)
        Constants.
    n_features_in_ : int
        Number of columns d.
    fit_ : Fit
        What `mpiopt.fit` returned, with the history and the certificate.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> model = mpiopt.Classifier().fit(x, ["no", "no", "yes", "yes"])
    >>> model.predict([[-3.0], [3.0]]).tolist(), model.predict_proba([[0.0]]).round(2).tolist()
    (['no', 'yes'], [[0.5, 0.5]])
    """

    loss: str = "auto"

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator can do, in scikit-learn's form."""
        return validation.sklearn_tags("classifier")

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to the rows of all ranks; collective.

        Parameters
        ----------
        X : array or sparse matrix, (n, d)
            This rank's rows.
        y : array, (n,)
            Labels of any kind that sorts.
        sample_weight : array, (n,), optional
            Weights of the rows, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            On all ranks: rows, labels or parameters that do not fit.
        """
        super().fit(X, y, sample_weight)
        if self.fit_.classes is None:
            raise ValueError(
                f"the loss {self.fit_.loss} is for numbers: use Regressor, unless the labels are all of one class"
            )
        self.classes_ = self.fit_.classes
        return self

    def _target(self, y: NDArray[Any]) -> NDArray[Any]:
        validation.refuse_continuous(y)
        return y

    @property
    def coef_(self) -> Vector:
        """Coefficients, (1, d) for two classes, else (classes, d)."""
        return self.fit_.coef

    @property
    def intercept_(self) -> Vector:
        """Constants, (1,) for two classes, else (classes,)."""
        return self.fit_.intercept

    def decision_function(self, X: Any) -> Vector:
        """Return the margins coef · x + intercept of the rows `X` (n, d): (n,) for two classes, else (n, classes)."""
        return self._margins(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the label of each row of `X` (n, d), as (n,)."""
        z = self._margins(X)
        return np.asarray(np.take(self.classes_, z.argmax(axis=1) if z.ndim == 2 else (z > 0).astype(int)))

    def predict_proba(self, X: Any) -> Vector:
        """Return the probability of each class, (n, classes); ValueError unless the loss is logistic or softmax."""
        z = self._margins(X)
        return probabilities(z if z.ndim == 2 else z[:, None], self.fit_.loss)

    def score(self, X: Any, y: ArrayLike) -> float:
        """Return the accuracy on the rows `X` (n, d) with labels `y` (n,); local."""
        return float((self.predict(X) == np.asarray(y)).mean())
