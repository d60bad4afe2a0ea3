"""Problems of every model class, by NumPy and SciPy alone: other libraries solve them in environments of their own.

F(W, b) = mean of loss(W x_i + b, y_i) + l1 ‖W‖₁ + (l2/2) ‖W‖².
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LOSSES = {
    "binary": ("logistic", "squared-hinge"),
    "multiclass": ("softmax",),
    "real": ("squared", "huber"),
    "count": ("poisson",),
}  # by kind of labels
PENALTIES = ("l2", "l1", "both")
L1_SHARE = 0.05  # of the least l1 that makes all coefficients 0


@dataclass(frozen=True, eq=False)
class ModelProblem:
    """Rows (an array or a SciPy CSR matrix), labels (-1 and +1, 0 … k - 1, or numbers) and what is minimised."""

    x: Any
    y: Vector
    loss: str
    l1: float
    l2: float
    intercept: bool

    @property
    def sparse(self) -> bool:
        """Whether the rows are stored in CSR form."""
        return hasattr(self.x, "indptr")

    @property
    def penalty(self) -> str:
        """The name of the penalty: l1, l2 or both."""
        return "l2" if not self.l1 else "both" if self.l2 else "l1"

    @property
    def outputs(self) -> int:
        """Rows of W."""
        return int(self.y.max()) + 1 if self.loss == "softmax" else 1

    def value(self, w: Matrix, b: Vector) -> float:
        """Return F, inf where it is no number."""
        with np.errstate(all="ignore"):
            found = self.losses(np.asarray(self.x @ w.T) + b).mean()
            found += self.l1 * np.abs(w).sum() + 0.5 * self.l2 * (w * w).sum()
        return float(found) if np.isfinite(found) else np.inf

    def losses(self, z: Matrix) -> Vector:
        """Return the loss of each row at margins z (n, outputs)."""
        y, z1 = self.y, z[:, 0]
        if self.loss == "softmax":
            top = z.max(axis=1)
            own = z[np.arange(len(y)), y.astype(int)]
            return np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - own
        if self.loss == "logistic":
            return np.logaddexp(0.0, -y * z1)
        if self.loss == "squared-hinge":
            return np.maximum(0.0, 1.0 - y * z1) ** 2
        if self.loss == "poisson":
            return np.exp(z1) - y * z1
        r = np.abs(z1 - y)
        return 0.5 * r * r if self.loss == "squared" else np.where(r > 1.0, r - 0.5, 0.5 * r * r)

    def constants(self) -> Vector:
        """Return the best b for W = 0."""
        from scipy.optimize import minimize_scalar

        if not self.intercept:
            return np.zeros(self.outputs)
        if self.loss == "softmax":
            return np.log(np.bincount(self.y.astype(int)) / len(self.y))
        if self.loss == "poisson":
            return np.log(self.y.mean(keepdims=True))
        zero = np.zeros((len(self.y), 1))
        bounds = (min(-20.0, self.y.min()), max(20.0, self.y.max()))
        found = minimize_scalar(lambda c: self.losses(zero + c).mean(), bounds=bounds, options={"xatol": 1e-9})
        return np.array([found.x])

    def start(self) -> float:
        """Return F(0, b) with the best constants b."""
        return self.value(np.zeros((self.outputs, self.x.shape[1])), self.constants())

    def largest_l1(self) -> float:
        """Return the least l1 that makes all coefficients 0: the largest slope of the mean loss in any weight."""
        z = np.zeros((len(self.y), self.outputs)) + self.constants()
        steps = 1e-6 * np.eye(self.outputs)
        slopes = np.stack([(self.losses(z + step) - self.losses(z - step)) / 2e-6 for step in steps], axis=1)
        return float(np.abs(self.x.T @ slopes).max()) / len(self.y)

    def save(self, path: Path) -> None:
        """Write the problem for another process."""
        parts = {"data": self.x.data, "indices": self.x.indices, "indptr": self.x.indptr} if self.sparse else {}
        x = self.x.shape if self.sparse else self.x
        what = json.dumps([self.loss, self.l1, self.l2, self.intercept])
        np.savez(path, x=x, y=self.y, what=what, **parts)

    @classmethod
    def load(cls, path: Path) -> ModelProblem:
        """Read what `save` wrote."""
        from scipy import sparse

        with np.load(path) as file:
            x = file["x"]
            if "data" in file:
                x = sparse.csr_matrix((file["data"], file["indices"], file["indptr"]), tuple(x))
            return cls(x, file["y"], *json.loads(str(file["what"])))


def posed(x: Any, y: Vector, loss: str, penalty: str, intercept: bool) -> ModelProblem:
    """Return a problem with l2 = 1/N, l1 a part of the least one that makes all coefficients 0, or both."""
    problem = ModelProblem(x, y, loss, 0.0, 0.0 if penalty == "l1" else 1.0 / len(y), intercept)
    return problem if penalty == "l2" else replace(problem, l1=L1_SHARE * problem.largest_l1())
