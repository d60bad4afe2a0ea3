"""An independent solver for the acceptance cases: scikit-learn's reader, scipy's sparse matrices, Newton with CG.

It shares no code with the package. Its answer carries a proof: with an l2-strongly convex objective and g the
subgradient of least norm, F(w) − F* <= |g|²/(2 l2). The elastic net is solved as a bound-constrained smooth problem
on the columns and signs that proximal steps leave, and proven by the same g over all columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, log_softmax, softmax
from sklearn.datasets import load_svmlight_file


@dataclass(frozen=True)
class Problem:
    x: sp.csr_matrix | np.ndarray  # (n, d) after scaling
    y: np.ndarray  # (n,) −1/+1, class numbers, or real
    loss: str
    l1: float
    l2: float
    delta: float = 1.0  # of Huber's loss

    @property
    def outputs(self):
        return int(self.y.max()) + 1 if self.loss == "softmax" else 1

    def margins(self, w):
        return self.x @ w.T  # (n, outputs)

    def terms(self, z):
        """Return values (n,), slopes (n, outputs) of the loss at margins z."""
        y, n = self.y, np.arange(len(self.y))
        if self.loss == "logistic":
            m = y * z[:, 0]
            return np.logaddexp(0, -m), (-y * expit(-m))[:, None]
        if self.loss == "softmax":
            p = softmax(z, axis=1)
            p[n, y.astype(int)] -= 1.0
            return -log_softmax(z, axis=1)[n, y.astype(int)], p
        r = z[:, 0] - y
        if self.loss == "squared":
            return 0.5 * r * r, r[:, None]
        linear = self.delta * (np.abs(r) - 0.5 * self.delta)
        return np.where(np.abs(r) <= self.delta, 0.5 * r * r, linear), np.clip(r, -self.delta, self.delta)[:, None]

    def curved(self, z, dz):
        """Return the second derivative of the loss at z in the direction dz, (n, outputs)."""
        if self.loss == "logistic":
            return expit(z) * expit(-z) * dz
        if self.loss == "softmax":
            p = softmax(z, axis=1)
            return p * (dz - (p * dz).sum(axis=1, keepdims=True))
        return dz if self.loss == "squared" else (np.abs(z[:, 0] - self.y) <= self.delta)[:, None] * dz

    def value(self, w):
        smooth = self.terms(self.margins(w))[0].mean()
        return float(smooth + self.l1 * np.abs(w).sum() + 0.5 * self.l2 * (w * w).sum())

    def gradient(self, w):
        """Return the gradient without the l1 part, (outputs, d)."""
        return (self.x.T @ self.terms(self.margins(w))[1]).T / len(self.y) + self.l2 * w

    def least(self, w):
        """Return the subgradient of least norm."""
        g = self.gradient(w)
        at_zero = np.sign(g) * np.maximum(np.abs(g) - self.l1, 0)
        return np.where(w != 0, g + self.l1 * np.sign(w), at_zero)

    def excess(self, w):
        """Bound F(w) − F*."""
        return float((self.least(w) ** 2).sum() / (2 * self.l2))


def read(path, loss, scale="none", l1=0.0, delta=1.0):
    """Read a LIBSVM file with scikit-learn and pose the problem with l2 = 1/N."""
    x, label = load_svmlight_file(str(path))
    if loss == "logistic":
        label = np.where(label == label.max(), 1.0, -1.0)
    elif loss == "softmax":
        label = np.searchsorted(np.unique(label), label).astype(float)
    if scale == "standard":
        x = x.toarray()
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    elif scale == "maxabs":
        x = x.toarray()
        largest = np.abs(x).max(axis=0)
        x = x / np.where(largest == 0, 1, largest)
    elif x.nnz > 0.3 * np.prod(x.shape):
        x = x.toarray()
    return Problem(x, label, loss, l1, 1.0 / len(label), delta)


def solve(problem, accuracy=1e-13, most=400):
    """Return (w, F(w)) with F(w) − F* <= accuracy · F(w), proven."""
    w = np.zeros((problem.outputs, problem.x.shape[1]))
    length = 1.0 / smoothness(problem)
    for _ in range(most):
        if problem.excess(w) <= accuracy * problem.value(w):
            return w, problem.value(w)
        if problem.l1:
            w = proximal_steps(problem, w, length)
        w = newton_step(problem, w)
    raise ArithmeticError(f"no reference: {problem.excess(w):.1e} of {problem.value(w):.6g} left")


def smoothness(problem):
    """Bound the largest curvature by power iteration, with some room."""
    v = np.ones(problem.x.shape[1])
    for _ in range(50):
        v = problem.x.T @ (problem.x @ v)
        v /= np.linalg.norm(v)
    return 1.1 * np.linalg.norm(problem.x @ v) ** 2 / len(problem.y) + problem.l2


def proximal_steps(problem, w, length, steps=30):
    """Make accelerated proximal gradient steps (FISTA); they find the columns that are not zero."""
    at, t = w, 1.0
    for _ in range(steps):
        v = at - length * problem.gradient(at)
        new = np.sign(v) * np.maximum(np.abs(v) - length * problem.l1, 0)
        later = (1 + np.sqrt(1 + 4 * t * t)) / 2
        at, w, t = new + (t - 1) / later * (new - w), new, later
    return w


def newton_step(problem, w):
    """Make one Newton step on the columns that are not zero (all of them without l1); halve it until F falls."""
    free = (w != 0) if problem.l1 else np.ones(w.shape, bool)
    g, z = problem.least(w)[free], problem.margins(w)

    def product(p):
        whole = np.zeros(w.shape)
        whole[free] = p
        curved = problem.curved(z, problem.margins(whole))
        return ((problem.x.T @ curved).T / len(problem.y) + problem.l2 * whole)[free]

    operator = LinearOperator((g.size, g.size), matvec=product, dtype=float)
    tolerance = min(0.1, float(np.linalg.norm(g)))
    direction = np.zeros(w.shape)
    direction[free] = cg(operator, -g, rtol=tolerance, maxiter=2000)[0]
    start = problem.value(w)
    for halving in range(30):
        new = w + 0.5**halving * direction
        if problem.l1:
            new = np.where(new * w >= 0, new, 0.0)  # a sign that changes ends at 0
        if problem.value(new) <= start:
            return new
    return w
