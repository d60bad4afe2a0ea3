"""The convex models of mpiopt for a parameter server: any loss, with l2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.objective.losses.base import Loss
from mpiopt.studies.parameter_server.networks.base import Array, Labels, Network, Shape


@dataclass(frozen=True)
class LinearNetwork(Network):
    """mean of loss(A x + b) + (l2/2) ‖A‖², with any loss of `mpiopt list losses` in its defaults; starts at 0.

    w holds A (outputs, features), then b (outputs,). Losses are computed in float64.
    """

    name = "linear"
    loss: str = "softmax"
    l2: float = 0.0

    def __post_init__(self) -> None:
        Loss.make(self.loss)
        if not self.l2 >= 0.0:
            raise ValueError(f"l2 must be a number >= 0, not {self.l2}")

    def _outputs(self, shape: Shape) -> int:
        return Loss.make(self.loss).outputs(shape.classes)

    def size(self, shape: Shape) -> int:
        """Return the number of coefficients and constants."""
        loss = Loss.make(self.loss)
        fits = {"multiclass": shape.classes > 1, "binary": shape.classes == 2}.get(loss.target, shape.classes == 0)
        if not fits:
            given = f"{shape.classes} classes" if shape.classes else "a real target"
            raise ValueError(f"linear[loss={self.loss}] takes {loss.target} labels, not {given}")
        return self._outputs(shape) * (shape.features + 1)

    def start(self, shape: Shape, draw: np.random.Generator) -> Array:
        """Return 0."""
        return np.zeros(self.size(shape))

    def value_gradient(
        self, w: Array, x: Array, y: Labels, shape: Shape, draw: np.random.Generator | None
    ) -> tuple[float, Array]:
        """Return the objective and its gradient."""
        a, _ = self._parts(w, shape)
        z, y, loss = self._margins(w, x, shape), self._labels(y), Loss.make(self.loss)
        slope = loss.slope(z, y).astype(w.dtype) / len(x)
        gradient = np.concatenate([(slope.T @ x + self.l2 * a).reshape(-1), slope.sum(axis=0)])
        return float(loss.value(z, y).mean()) + 0.5 * self.l2 * float((a * a).sum()), gradient.astype(w.dtype)

    def accuracy(self, w: Array, x: Array, y: Labels, shape: Shape) -> float:
        """Return the share of right classes, or R²."""
        z = self._margins(w, x, shape)
        if shape.classes == 0:
            predicted = np.exp(z[:, 0]) if Loss.make(self.loss).target == "count" else z[:, 0]
            return float(1.0 - ((predicted - y) ** 2).mean() / max(float(np.var(y)), 1e-300))
        answers = z.argmax(axis=1) if z.shape[1] > 1 else z[:, 0] >= 0.0
        return float((answers == y).mean())

    def _margins(self, w: Array, x: Array, shape: Shape) -> Labels:
        a, b = self._parts(w, shape)
        return np.asarray(x @ a.T + b, np.float64)

    def _labels(self, y: Labels) -> Labels:
        return 2.0 * y - 1.0 if Loss.make(self.loss).target == "binary" else y

    def _parts(self, w: Array, shape: Shape) -> tuple[Array, Array]:
        outputs = self._outputs(shape)
        return w[:-outputs].reshape(outputs, shape.features), w[-outputs:]
