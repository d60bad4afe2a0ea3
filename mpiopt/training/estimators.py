"""`mpiopt.Classifier` and `mpiopt.Regressor`: scikit-learn's estimators, on rows that are spread over ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.results.model import WITH_PROBABILITIES, expected, log_probabilities, probabilities
from mpiopt.training import validation
from mpiopt.training.class_weights import row_weights
from mpiopt.training.linear_estimator import LinearEstimator
from mpiopt.training.sklearn_base import ClassifierMixin, RegressorMixin, available_if

Vector = NDArray[np.float64]


def _has_probabilities(classifier: Any) -> bool:
    """Return whether the loss, of the fit if there is one, has probabilities; AttributeError says why not."""
    loss = classifier.fit_.loss if hasattr(classifier, "fit_") else str(classifier.loss).partition("[")[0]
    if loss not in (*WITH_PROBABILITIES, "auto"):
        known = " and ".join(WITH_PROBABILITIES)
        raise AttributeError(f"the loss {loss} has no probabilities, unlike {known}; see decision_function")
    return True


@dataclass(eq=False, repr=False)
class Regressor(RegressorMixin, LinearEstimator):  # type: ignore[misc]
    """A linear model of numbers.

    Parameters
    ----------
    loss : str, default "squared"
        "squared", "huber" (with its option: "huber[delta=0.5]"), "quantile[tau=0.9,width=0.1]"; "poisson",
        "negative-binomial", "gamma", "inverse-gaussian", "tweedie", which predict expected targets; "binomial", which
        predicts shares.
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
    columns : mapping, default None
        How the columns of a frame with words and dates are encoded, as in `mpiopt.fit`.
    warm_start : bool, default False
        Whether `fit` starts from the model of the fit before, with coefficients by the titles of columns.
    coordinates : str, default "standardised"
        The columns in which algorithms work: "standardised", or "file" (as they are); without effect on the model.
    compress : str, default "none"
        Compressor of the exchanges with options in brackets; "auto" chooses by measured speeds.
    memory : str, default "auto"
        Error compensation of compressed exchanges: "none", "difference", "error-feedback".
    downlink : bool, default False
        Whether to compress the way back from a sum, too.
    max_seconds : float, default inf
        Budget of seconds of each fit, at least 0.
    nonnegative : bool, default False
        Whether all coefficients are kept at 0 or above, as scikit-learn's `positive`.
    bounds : mapping or str, default None
        The least and the largest coefficient of columns, by title, as in `mpiopt.fit`.
    l1_groups : sequence of sequences of str, or str, default None
        Columns whose coefficients are 0 together, as in `mpiopt.fit`.
    ridge_matrix : array, (d, d), or str, default None
        The matrix of a ridge, as in `mpiopt.fit`.
    ridge_strength : float, default 1.0
        Its strength.
    init : Fit, FittedModel or str, default None
        A model to start from, or the result file that has it.
    verbose : int, default 0
        1 prints the progress on rank 0.

    Attributes
    ----------
    coef_ : ndarray, (d,)
        Coefficients.
    intercept_ : float
        The constant.
    n_iter_ : int
        Rounds of the fit.
    n_features_in_ : int
        Number of columns, of a frame with words before they are encoded.
    feature_names_in_ : ndarray of str, (d,)
        Titles of the columns, if the rows of `fit` were a frame with titles. The columns of other frames are found by
        title, in any order.
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

    def _target(self, y: NDArray[Any]) -> NDArray[Any]:
        return validation.real_targets(y)

    def predict(self, X: Any) -> Vector:
        """Return the expected target of each row of `X` (n, d), as (n,)."""
        return expected(self._margins(X), self.fit_.loss)

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R² on the rows `X` (n, d) with targets `y` (n,) and weights (n,); local."""
        target = np.asarray(y, dtype=np.float64)
        mean = np.average(target, weights=_array(sample_weight))
        missed = np.average((target - self.predict(X)) ** 2, weights=_array(sample_weight))
        spread = np.average((target - mean) ** 2, weights=_array(sample_weight))
        return float(1.0 - missed / spread) if spread > 0 else float(missed == 0)


@dataclass(eq=False, repr=False)
class Classifier(ClassifierMixin, LinearEstimator):  # type: ignore[misc]
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
    columns : mapping, default None
        How the columns of a frame with words and dates are encoded, as in `mpiopt.fit`.
    warm_start : bool, default False
        Whether `fit` starts from the model of the fit before, with coefficients by the titles of columns.
    coordinates : str, default "standardised"
        The columns in which algorithms work: "standardised", or "file" (as they are); without effect on the model.
    compress : str, default "none"
        Compressor of the exchanges with options in brackets; "auto" chooses by measured speeds.
    memory : str, default "auto"
        Error compensation of compressed exchanges: "none", "difference", "error-feedback".
    downlink : bool, default False
        Whether to compress the way back from a sum, too.
    max_seconds : float, default inf
        Budget of seconds of each fit, at least 0.
    nonnegative : bool, default False
        Whether all coefficients are kept at 0 or above, as scikit-learn's `positive`.
    bounds : mapping or str, default None
        The least and the largest coefficient of columns, by title, as in `mpiopt.fit`.
    l1_groups : sequence of sequences of str, or str, default None
        Columns whose coefficients are 0 together, as in `mpiopt.fit`.
    ridge_matrix : array, (d, d), or str, default None
        The matrix of a ridge, as in `mpiopt.fit`.
    ridge_strength : float, default 1.0
        Its strength.
    init : Fit, FittedModel or str, default None
        A model to start from, or the result file that has it.
    verbose : int, default 0
        1 prints the progress on rank 0.
    class_weight : mapping, "balanced" or None, default None
        A weight for each class, which multiplies the weights of its rows. "balanced": all classes have the same sum.

    Attributes
    ----------
    classes_ : ndarray, (classes,)
        The labels, ascending.
    coef_ : ndarray, (1, d) or (classes, d)
        Coefficients; for two classes those of the second.
    intercept_ : ndarray, (1,) or (classes,)
        Constants.
    n_iter_ : int
        Rounds of the fit.
    n_features_in_ : int
        Number of columns, of a frame with words before they are encoded.
    feature_names_in_ : ndarray of str, (d,)
        Titles of the columns, if the rows of `fit` were a frame with titles. The columns of other frames are found by
        title, in any order.
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
    class_weight: Any = None

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to the rows of all ranks; collective.

        Parameters
        ----------
        X : array, sparse matrix or frame, (n, d)
            This rank's rows. A frame may have columns of words, booleans and dates.
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

        Warns
        -----
        ConvergenceWarning
            On rank 0: the fit is not certified. The warning says why and what to do.
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

    def _weights(self, y: NDArray[Any], sample_weight: ArrayLike | None, ranks: Comm) -> NDArray[Any] | None:
        return row_weights(self.class_weight, y, super()._weights(y, sample_weight, ranks), ranks)

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

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Vector:
        """Return the probability of each class, (n, classes); only with the losses logistic and softmax."""
        z = self._margins(X)
        return probabilities(z if z.ndim == 2 else z[:, None], self.fit_.loss)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Vector:
        """Return the logarithm of the probability of each class, (n, classes); exact where a probability is tiny."""
        z = self._margins(X)
        return log_probabilities(z if z.ndim == 2 else z[:, None], self.fit_.loss)

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy on the rows `X` (n, d) with labels `y` (n,) and weights (n,); local."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=_array(sample_weight)))


def _array(weights: ArrayLike | None) -> Vector | None:
    return None if weights is None else np.asarray(weights, dtype=np.float64)
