"""From the columns in which algorithms work back to those of the file, for coefficients and for covariances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.coordinates import Coordinates
from mpiopt.data.dataset import Dataset
from mpiopt.results.model import FittedModel

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ColumnUnits:
    """Training saw the columns (x - origin)/size of the file's columns x."""

    origin: Vector  # (d,)
    size: Vector  # (d,)
    intercept: bool
    label_origin: float = 0.0  # what training subtracted from the labels

    @classmethod
    def of(cls, mean: Vector, scale: Vector, coordinates: Coordinates, intercept: bool) -> ColumnUnits:
        """Return the units of columns that were scaled, then moved to the coordinates of the algorithm."""
        return cls(mean + scale * coordinates.centre, scale * coordinates.scale, intercept, coordinates.label_origin)

    @classmethod
    def of_dataset(cls, data: Dataset) -> ColumnUnits:
        """Return the units of the columns of a data set that was read to train on."""
        return cls.of(data.mean, data.scale, data.coordinates, data.shard.intercept)

    def to_training(self, model: FittedModel, width: int) -> Matrix:
        """Return the model of the file's columns as training saw it, (outputs, width)."""
        w, d = np.zeros((len(model.coef), width)), len(self.size)
        w[:, :d] = model.coef * self.size
        if self.intercept:
            centre = np.zeros(d) if model.centre is None else model.centre
            constant = model.intercept if model.intercept_at_centre is None else model.intercept_at_centre
            w[:, d] = (constant - self.label_origin) + model.coef @ (self.origin - centre)
        return w

    def matrix(self) -> Matrix:
        """Return U: the file's coefficients, with the intercept as the last, are U times those of training."""
        if not self.intercept:
            return np.diag(1.0 / self.size)
        u = np.diag(np.append(1.0 / self.size, 1.0))
        u[-1, :-1] = -self.origin / self.size
        return u
