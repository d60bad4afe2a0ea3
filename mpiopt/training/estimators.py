"""What the estimators take: rows, labels and weights as scikit-learn's own estimators would take or refuse them.

Its exceptions are used where it is installed, since its tools look for them; it is imported when they are needed.

Estimators in the manner of scikit-learn (its conventions, not its code), on each rank's own rows.

Parameters are those of `mpiopt.fit`. Every rank of `comm` calls `fit` with its own rows; the model is then equal on
all ranks, and `predict` is local.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.results.model import expected, probabilities
from mpiopt.training.fit import Fit, communicator, fit


class NotFitted(ValueError, AttributeError):
    """The estimator has no model yet; where scikit-learn is installed its NotFittedError is raised instead."""


def checked_rows(x: Any, columns: int | None, name: str) -> Any:
    """Give rows as an array or a sparse matrix.

    Raises
    ------
    ValueError
        If they are no finite real numbers in two dimensions, or not as many columns as the model has.
    """
    matrix = x if hasattr(x, "tocsr") else _numbers(x)
    if matrix.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {matrix.ndim}D array instead. Reshape your data: (-1, 1) for a single feature, "
            "(1, -1) for a single sample."
        )
    if np.issubdtype(matrix.dtype, np.complexfloating):
        raise ValueError("Complex data not supported")
    values = matrix.tocsr().data if hasattr(matrix, "tocsr") else matrix
    if not np.isfinite(values).all():
        raise ValueError("Input X contains NaN or infinity (inf)")
    if columns is not None and matrix.shape[1] != columns:
        raise ValueError(f"X has {matrix.shape[1]} features, but {name} is expecting {columns} features as input")
    return matrix


def labels(y: Any) -> NDArray[Any]:
    """Give labels in one dimension; a column is taken with a warning.

    Raises
    ------
    ValueError
        If there are none.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    found = np.asarray(y)
    if found.ndim == 2 and found.shape[1] == 1:
        words = "A column-vector y was passed when a 1d array was expected"
        warnings.warn(words, _theirs("DataConversionWarning", UserWarning), stacklevel=2)
        found = found[:, 0]
    return found


def enough(matrix: Any) -> None:
    """Refuse no rows, or no columns; ranks among others may well have no rows."""
    if matrix.shape[0] == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={matrix.shape}) while a minimum of 1 is required.")
    if matrix.shape[1] == 0:
        raise ValueError(f"Found array with 0 feature(s) (shape={matrix.shape}) while a minimum of 1 is required.")


def classes(y: NDArray[Any]) -> None:
    """Refuse numbers that are no classes: real ones, of which most differ."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity (inf)")
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError("Unknown label type: continuous. A classifier needs classes; use Regressor for real targets")


def numbers(y: NDArray[Any]) -> NDArray[Any]:
    """Give targets as numbers, or refuse them."""
    if y.dtype.kind in "fiub":
        return y
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError("Unknown label type: the targets of a regressor are numbers") from None


def not_fitted(name: str) -> Exception:
    """Give the error for an estimator that was not fitted."""
    kind = _theirs("NotFittedError", NotFitted)
    error: Exception = kind(f"This {name} instance is not fitted yet. Call 'fit' before using this estimator.")
    return error


def tags(kind: str) -> Any:
    """Say to scikit-learn, which alone asks, what an estimator of this kind can do."""
    from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

    return Tags(
        estimator_type=kind,
        target_tags=TargetTags(required=True),
        transformer_tags=None,
        classifier_tags=ClassifierTags() if kind == "classifier" else None,
        regressor_tags=RegressorTags() if kind == "regressor" else None,
        input_tags=InputTags(sparse=True),
    )


def _numbers(x: Any) -> NDArray[Any]:
    matrix = np.asarray(x)
    if matrix.dtype.kind in "fiubc":
        return matrix
    try:
        return matrix.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X holds what is no number: {error}") from None


def _theirs(name: str, ours: Any) -> Any:
    try:
        from sklearn import exceptions
    except ImportError:
        return ours
    return getattr(exceptions, name)


Vector = NDArray[np.float64]


@dataclass(eq=False)
class LinearEstimator:
    """What both estimators share; after `fit`: `fit_` (with history and certificate), `n_features_in_`."""

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
        """Give the parameters by name; `deep` is there for scikit-learn, nothing here is nested."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ValueError for one that is not there."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; known: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether there is a model."""
        return hasattr(self, "fit_")

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to the rows of all ranks; collective."""
        ranks = communicator(self.comm)
        with ranks.agree_on_errors():
            x, target = self._admitted(X, y, ranks.size)
        self.fit_: Fit = fit(
            x,
            target,
            ranks,
            sample_weight=None if sample_weight is None else np.asarray(sample_weight),
            loss=self.loss,
            l1=self.l1,
            l2=self.l2,
            intercept=self.intercept,
            scale=self.scale,
            algorithm=self.algorithm,
            tol=self.tol,
            max_epochs=self.max_epochs,
            seed=self.seed,
        )
        self.n_features_in_ = self.fit_.coef.shape[1]
        return self

    def _admitted(self, x: Any, y: Any, size: int) -> tuple[Any, NDArray[Any]]:
        matrix, target = checked_rows(x, None, type(self).__name__), labels(y)
        if size == 1:
            enough(matrix)
        return matrix, self._target(target)

    def _target(self, y: NDArray[Any]) -> NDArray[Any]:
        return numbers(y)

    def _margins(self, x: Any) -> Vector:
        if not hasattr(self, "fit_"):
            raise not_fitted(type(self).__name__)
        rows = checked_rows(x, self.n_features_in_, type(self).__name__)
        z = np.asarray(rows @ self.fit_.coef.T) + self.fit_.intercept
        return z[:, 0] if z.shape[1] == 1 else z


@dataclass(eq=False)
class Regressor(LinearEstimator):
    """A linear model of numbers: the loss squared, huber[delta=…] or poisson (which predicts expected counts)."""

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
        """Tell scikit-learn what this is."""
        return tags("regressor")

    def predict(self, X: Any) -> Vector:
        """Give the expected target of each row."""
        return expected(self._margins(X), self.fit_.loss)

    def score(self, X: Any, y: ArrayLike) -> float:
        """Give R² on these rows alone."""
        target = np.asarray(y, dtype=np.float64)
        return float(1.0 - ((target - self.predict(X)) ** 2).sum() / ((target - target.mean()) ** 2).sum())


@dataclass(eq=False)
class Classifier(LinearEstimator):
    """A linear classifier: the loss logistic, softmax or squared-hinge; auto: by the number of classes."""

    loss: str = "auto"

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what this is."""
        return tags("classifier")

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to the rows of all ranks; collective. Labels may be of any kind that sorts."""
        super().fit(X, y, sample_weight)
        if self.fit_.classes is None:
            raise ValueError(
                f"the loss {self.fit_.loss} is for numbers, not for classes: use Regressor (or is it 1 class?)"
            )
        self.classes_ = self.fit_.classes
        return self

    def _target(self, y: NDArray[Any]) -> NDArray[Any]:
        classes(y)
        return y

    @property
    def coef_(self) -> Vector:
        """Coefficients (1, d) for two classes, else (classes, d)."""
        return self.fit_.coef

    @property
    def intercept_(self) -> Vector:
        """Constants (1,) or (classes,)."""
        return self.fit_.intercept

    def decision_function(self, X: Any) -> Vector:
        """Give the margins x · coef + intercept, (n,) for one output, else (n, outputs)."""
        return self._margins(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Give the label of each row."""
        z = self._margins(X)
        return np.asarray(np.take(self.classes_, z.argmax(axis=1) if z.ndim == 2 else (z > 0).astype(int)))

    def predict_proba(self, X: Any) -> Vector:
        """Give the probability of each class, (n, classes); for logistic and softmax."""
        z = self._margins(X)
        return probabilities(z if z.ndim == 2 else z[:, None], self.fit_.loss)

    def score(self, X: Any, y: ArrayLike) -> float:
        """Give the accuracy on these rows alone."""
        return float((self.predict(X) == np.asarray(y)).mean())
