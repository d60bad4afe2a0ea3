"""The losses in long double, written from their definitions: values, slopes and curvatures at margins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LD = np.longdouble
ONE, NONE = LD(1), LD(0)


@dataclass(frozen=True)
class LongLoss:
    """A loss of margins z (n, outputs) for labels y (n,): −1/+1, class numbers, or numbers."""

    family: str
    y: np.ndarray
    outputs: int = 1  # 1, or the number of classes
    delta: np.longdouble = ONE  # of Huber's loss; the width of a quantile's
    option: np.longdouble = ONE  # tau of a quantile, power of Tweedie's loss, theta of the negative binomial
    soft: np.longdouble = NONE  # level of softening of the squared hinge's slope

    def values(self, z):
        """Return the loss of each row, (n,)."""
        if self.family == "softmax":
            top = z.max(axis=1)
            own = z[np.arange(len(z)), self.y.astype(int)]
            return np.log(np.exp(z - top[:, None]).sum(axis=1)) + (top - own)
        z = z[:, 0]
        if self.family == "logistic":
            m = self.y * z
            return np.maximum(-m, 0) + np.log1p(np.exp(-np.abs(m)))
        if self.family == "squared-hinge":
            return np.maximum(1 - self.y * z, 0) ** 2
        if self.family == "poisson":
            return np.exp(np.minimum(z, 11000)) - self.y * z
        if self.family == "gamma":
            return self.y * np.exp(np.minimum(-z, 11000)) + z
        if self.family == "tweedie":
            down, up = self.option - 1, 2 - self.option
            return self.y * np.exp(np.minimum(-down * z, 11000)) / down + np.exp(np.minimum(up * z, 11000)) / up
        if self.family == "negative-binomial":
            t = z - np.log(self.option)
            return self.option * softplus(t) + self.y * softplus(-t)
        if self.family == "binomial":
            return (1 - self.y) * softplus(z) + self.y * softplus(-z)
        r = np.abs(z - self.y)
        if self.family == "squared":
            return r * r / 2
        if self.family == "quantile":
            bowl = np.where(r <= self.delta, (r * r / self.delta + self.delta) / 2, r)
            return bowl / 2 + (ONE / 2 - self.option) * (z - self.y)
        return np.where(r <= self.delta, r * r / 2, self.delta * (r - self.delta / 2))

    def slopes(self, z):
        """Return the derivatives by the margins, (n, outputs)."""
        if self.family == "softmax":
            p = probabilities(z)
            rows, own = np.arange(len(z)), self.y.astype(int)
            p[rows, own] = 0
            p[rows, own] = -p.sum(axis=1)  # not p − 1, which cancels
            return p
        z = z[:, 0]
        if self.family == "logistic":
            slope = -self.y / (1 + np.exp(np.clip(self.y * z, -11000, 11000)))
        elif self.family == "squared-hinge":
            t = 1 - self.y * z
            root = np.sqrt(t * t + 4 * self.soft)
            rest = np.where(root > 0, 4 * self.soft / np.where(root > 0, root + np.abs(t), 1), 0)  # root − |t|
            slope = -self.y * np.where(t > 0, t + root, rest)
        elif self.family == "poisson":
            slope = np.exp(np.minimum(z, 11000)) - self.y
        elif self.family == "squared":
            slope = z - self.y
        elif self.family == "gamma":
            slope = 1 - self.y * np.exp(np.minimum(-z, 11000))
        elif self.family == "tweedie":
            down, up = self.option - 1, 2 - self.option
            slope = np.exp(np.minimum(up * z, 11000)) - self.y * np.exp(np.minimum(-down * z, 11000))
        elif self.family == "negative-binomial":
            t = z - np.log(self.option)
            slope = self.option * sigmoid(t) - self.y * sigmoid(-t)
        elif self.family == "binomial":
            slope = (1 - self.y) * sigmoid(z) - self.y * sigmoid(-z)
        elif self.family == "quantile":
            slope = np.clip((z - self.y) / self.delta, -1, 1) / 2 + (ONE / 2 - self.option)
        else:
            slope = np.clip(z - self.y, -self.delta, self.delta)
        return slope[:, None]

    def curvatures(self, z):
        """Return the second derivatives by the margins, (n, outputs, outputs)."""
        if self.family == "softmax":
            p = probabilities(z)
            others = p @ (1 - np.eye(p.shape[1]))  # not 1 − p, which cancels
            diagonal = np.eye(p.shape[1], dtype=bool)
            return np.where(diagonal, (p * others)[:, :, None], -p[:, :, None] * p[:, None, :])
        z = z[:, 0]
        if self.family == "logistic":
            e = np.exp(-np.abs(z))
            curvature = e / (1 + e) ** 2
        elif self.family == "squared-hinge":
            t = 1 - self.y * z
            root = np.sqrt(t * t + 4 * self.soft)
            rest = 4 * self.soft / np.where(root > 0, root * (root + np.abs(t)), 1)
            curvature = np.where(t > 0, 1 + t / np.where(root > 0, root, 1), rest)
        elif self.family == "poisson":
            curvature = np.exp(np.minimum(z, 11000))
        elif self.family == "squared":
            curvature = np.ones(len(z), LD)
        elif self.family == "gamma":
            curvature = self.y * np.exp(np.minimum(-z, 11000))
        elif self.family == "tweedie":
            down, up = self.option - 1, 2 - self.option
            falling = down * self.y * np.exp(np.minimum(-down * z, 11000))
            curvature = falling + up * np.exp(np.minimum(up * z, 11000))
        elif self.family in ("negative-binomial", "binomial"):
            theta = self.option if self.family == "negative-binomial" else ONE
            e = np.exp(-np.abs(z - np.log(theta)))
            curvature = (self.y + theta if self.family == "negative-binomial" else ONE) * e / (1 + e) ** 2
        elif self.family == "quantile":
            curvature = (np.abs(z - self.y) <= self.delta).astype(LD) / (2 * self.delta)
        else:
            curvature = (np.abs(z - self.y) <= self.delta).astype(LD)
        return curvature[:, None, None]

    def lowest(self):
        """Return the least loss of each row over all margins, (n,)."""
        y, positive, option = self.y, np.where(self.y > 0, self.y, 1), self.option
        if self.family == "poisson":
            return y - y * np.log(positive)
        if self.family == "gamma":
            return 1 + np.log(y)
        if self.family == "tweedie":
            return np.where(y > 0, positive ** (2 - option), 0) / ((option - 1) * (2 - option))
        if self.family == "negative-binomial":
            return y * np.log1p(option / positive) + option * np.log1p(y / option)
        if self.family == "binomial":
            return -(y * np.log(positive) + (1 - y) * np.log(np.where(y < 1, 1 - y, 1)))
        least = self.delta * option * (1 - option) if self.family == "quantile" else LD(0)
        return np.full(len(y), least)


def softplus(z):
    """Return log(1 + exp(z))."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def sigmoid(z):
    """Return 1/(1 + exp(-z))."""
    return 1 / (1 + np.exp(np.clip(-z, -11000, 11000)))


def probabilities(z):
    """Return the softmax of the margins of each row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def long_loss(loss, y):
    """Return a loss by its name with options, for the labels of a problem."""
    family, _, options = loss.partition("[")
    pairs = [part.split("=") for part in options.rstrip("]").split(",") if part]
    given = {key: LD(float(value)) for key, value in pairs}
    delta = given.get("delta", given.get("width", LD(1)))
    chosen = {"tweedie": given.get("power", LD(1.5)), "quantile": given.get("tau", LD(0.5))}
    option = chosen.get(family, given.get("theta", LD(1)))
    label = np.asarray(y, LD)
    if family in ("logistic", "squared-hinge"):
        label = np.where(label == label.max(), LD(1), LD(-1))
    return LongLoss(family, label, int(label.max()) + 1 if family == "softmax" else 1, delta, option)
