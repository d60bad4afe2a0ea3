"""A loss whose labels have offsets beside them: loss(z + o, y), in one place for every loss with one output.

Its labels are (n, 2), as `mpiopt.data.offsets.beside` makes them. Kernels call the block functions of the loss itself
(`mpiopt.kernels.loss_block.call_block` adds the offsets). Given labels (n,) it is the loss itself.
"""

from __future__ import annotations

import functools
from dataclasses import fields

import numpy as np

from mpiopt.data.offsets import apart, labels_of
from mpiopt.objective.losses.base import ClippedLine, LabelStatistics, Loss, Vector


class OffsetLoss(Loss):
    """The part of a loss with offsets that is the same for every loss; `with_offsets` joins it to one."""

    def value(self, z: Vector, y: Vector) -> Vector:
        """Compute the loss of each row."""
        return super().value(*apart(z, y))

    def slope(self, z: Vector, y: Vector) -> Vector:
        """Compute the derivative of each row's loss by its margin."""
        return super().slope(*apart(z, y))

    def curvature(self, z: Vector, y: Vector) -> Vector:
        """Compute the second derivative of each row's loss."""
        return super().curvature(*apart(z, y))

    def mean_curvature(self, z: Vector, y: Vector) -> Vector:
        """Compute the mean of each row's Hessian eigenvalues."""
        return super().mean_curvature(*apart(z, y))

    def majorant(self, z: Vector, y: Vector) -> Vector:
        """Compute the curvature of a parabola above each row's loss."""
        return super().majorant(*apart(z, y))

    def expected_curvature(self, z: Vector, y: Vector) -> Vector:
        """Compute the mean of the curvature over targets with the mean of the margin."""
        return super().expected_curvature(*apart(z, y))

    def deviance(self, z: Vector, y: Vector) -> Vector:
        """Compute the deviance of each row."""
        return super().deviance(*apart(z, y))

    def log_likelihood(self, z: Vector, y: Vector, precision: Vector, dispersion: float) -> Vector:
        """Compute the log likelihood of each row."""
        return super().log_likelihood(*apart(z, y), precision, dispersion)

    def clipped_line(self, y: Vector) -> ClippedLine | None:
        """Return the line of the loss, moved by each row's offset."""
        line = super().clipped_line(labels_of(y))
        return line if line is None or y.ndim == 1 else line._replace(centre=line.centre - y[:, 1])

    def lowest(self, y: Vector) -> Vector:
        """Compute the least loss of each label: an offset does not change it."""
        return super().lowest(labels_of(y))

    def response(self, y: Vector) -> Vector:
        """Return labels as numbers whose mean is `mean`."""
        return super().response(labels_of(y))

    def conjugate(self, u: Vector, y: Vector) -> Vector:
        """Compute the conjugate: with z' = z + o it is max u z' − loss(z') less u o."""
        found = super().conjugate(u, labels_of(y))
        return found if y.ndim == 1 else np.asarray(found - u[:, 0] * y[:, 1])

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound the intercept: an offset moves a margin by at most the largest one."""
        return super().intercept_bound(labels, above, size) + labels.largest_offset


def with_offsets(loss: Loss) -> Loss:
    """Return the loss for labels that have offsets beside them; it has the same name and options.

    Examples
    --------
    >>> loss = with_offsets(Loss.make("logistic"))
    >>> loss.name, float(loss.slope(np.array([[-3.0]]), np.array([[1.0, 3.0]]))[0, 0])
    ('logistic', -0.5)
    """
    options = {field.name: getattr(loss, field.name) for field in fields(loss)}
    return _joined(type(loss))(**options)


@functools.cache
def _joined(kind: type[Loss]) -> type[Loss]:
    return type(f"{kind.__name__}WithOffsets", (OffsetLoss, kind), {"__module__": __name__, "__doc__": kind.__doc__})
