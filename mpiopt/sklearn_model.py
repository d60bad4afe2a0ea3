"""A model as scikit-learn's own estimator: what it would predict, this one predicts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.fitted import Fitted, class_names
from mpiopt.jobfile import read
from mpiopt.record import Record
from mpiopt.selection import select


def estimator(record: Record) -> Any:
    """Give the estimator with `coef_` and `intercept_`, after a Normalizer where rows were scaled to length one.

    Raises
    ------
    ValueError
        Where the run has no model yet.
    """
    model = model_of(record)
    loss = str(record.provenance["loss"])
    coef, intercept = for_two(model) if model.classes is not None else (model.coef[0], model.intercept[0])
    found = blank(loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the few rows of zeros that give the estimator its shapes
        if model.classes is not None:
            names = class_names(model.classes)
            found.fit(blank_rows(record, len(names)), names)
        else:
            found.fit(blank_rows(record, 2), np.ones(2))
    found.coef_, found.intercept_ = coef, intercept
    if read(record.job).data.scale == "unit-rows":
        return normalised(found, blank_rows(record, 2))
    return found


def blank(loss: str) -> Any:
    """Give the estimator whose predictions are those of a loss."""
    from sklearn import linear_model, svm

    chosen = select(loss)
    kinds = {
        "logistic": linear_model.LogisticRegression,
        "softmax": linear_model.LogisticRegression,
        "squared-hinge": svm.LinearSVC,
        "squared": linear_model.Ridge,
        "huber": linear_model.HuberRegressor,
        "poisson": linear_model.PoissonRegressor,
    }
    if chosen.name not in kinds:
        raise ValueError(f"scikit-learn has no linear model for the loss {chosen.name}")
    return kinds[chosen.name]()


def for_two(model: Fitted) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give coefficients and constants; of two classes with one vector each the difference, as scikit-learn has it."""
    if model.coef.shape[0] == 2:
        return model.coef[1:] - model.coef[:1], model.intercept[1:] - model.intercept[:1]
    return model.coef, model.intercept


def model_of(record: Record) -> Fitted:
    """Give the model; ValueError where the run has not ended."""
    if record.model is None:
        raise ValueError(f"{record.path}: the run has not ended, there is no model yet")
    return record.model


def blank_rows(record: Record, count: int = 1) -> NDArray[np.float64]:
    """Give rows of zeros with as many columns as the model has."""
    return np.zeros((count, model_of(record).coef.shape[1]))


def normalised(model: Any, rows: NDArray[np.float64]) -> Any:
    """Put a Normalizer before a model."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    return make_pipeline(Normalizer().fit(rows), model)
