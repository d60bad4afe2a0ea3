"""Twenty small sets of the kinds that algorithms find hard, made from fixed seeds, and the model of each."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp


class SmallSet(NamedTuple):
    """Rows, labels and the arguments of `mpiopt.fit`."""

    x: Any
    y: np.ndarray
    model: dict[str, Any]


def small_sets():
    """Return a function for each set, by name."""
    return {
        "dense": lambda: binary(1, normal(1, 600, 20)),
        "ill-conditioned": lambda: binary(2, normal(2, 600, 30) * np.logspace(0, -3, 30)),
        "nearly separable": lambda: nearly_separable(3, 800, 25),
        "simulated": lambda: binary(4, normal(4, 500, 60), noise=0.1),
        "short rows": lambda: binary(5, sparse(5, 1500, 80, 6)),
        "short rows, l1": lambda: binary(6, sparse(6, 1500, 80, 6), l1=2e-3, l2=0.0),
        "raw counts": lambda: binary(7, counts(7, 300, 2500)),
        "raw counts, l1": lambda: binary(8, counts(8, 300, 2500), l1=5e-3, l2=0.0),
        "unit rows of text": lambda: binary(9, unit(counts(9, 400, 800))),
        "lasso": lambda: real(10, normal(10, 120, 400), l1=0.1, l2=0.0),
        "lasso, short rows": lambda: real(11, sparse(11, 1000, 300, 8), l1=2e-3, l2=0.0),
        "ridge": lambda: real(12, normal(12, 800, 30)),
        "elastic net": lambda: binary(13, normal(13, 500, 50), l1=5e-3),
        "images": lambda: images(14, 150, 36, 4),
        "classes, l1": lambda: classes(15, 300, 10, 4, l1=3e-3, l2=0.0),
        "poisson": lambda: poisson(16, 600, 12),
        "huber": lambda: real(17, normal(17, 500, 15), loss="huber"),
        "squared hinge": lambda: binary(18, normal(18, 500, 20), loss="squared-hinge"),
        "no penalty": lambda: binary(19, normal(19, 600, 10), l2=0.0),
        "wide": lambda: binary(20, normal(20, 60, 600), intercept=False),
    }


def normal(seed, n, d):
    return np.random.default_rng(seed).standard_normal((n, d))


def sparse(seed, n, d, k):
    rng = np.random.default_rng(seed)
    x = sp.csr_matrix((rng.standard_normal(n * k), rng.integers(0, d, n * k), np.arange(0, n * k + 1, k)), (n, d))
    x.sum_duplicates()
    return x


def counts(seed, n, d):
    """Return word counts: popular words first, documents of very different lengths."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(3.8, 0.8, n), 5, 600).astype(int)
    words = (d ** rng.random(lengths.sum())).astype(int) - 1
    x = sp.csr_matrix((np.ones(len(words)), words, np.concatenate([[0], np.cumsum(lengths)])), (n, d))
    x.sum_duplicates()
    return x


def unit(x):
    return sp.csr_matrix(x.multiply(1.0 / np.sqrt(x.multiply(x).sum(axis=1))))


def margin(rng, x):
    z = np.asarray(x @ rng.standard_normal(x.shape[1])).ravel()
    return z / z.std()


def binary(seed, x, noise=0.5, **model):
    rng = np.random.default_rng(100 + seed)
    y = np.where(margin(rng, x) + noise * rng.standard_normal(x.shape[0]) > 0, 1.0, -1.0)
    return SmallSet(x, y, {"loss": "logistic", **model})


def nearly_separable(seed, n, d):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.logspace(0, -2, d)
    x[:, :8] = np.abs(x[:, :8]) > 1
    z = margin(rng, x)
    y = np.where(z > np.median(z), 1.0, -1.0)
    y[rng.random(n) < 0.005] *= -1.0
    return SmallSet(x, y, {"loss": "logistic"})


def real(seed, x, **model):
    rng = np.random.default_rng(100 + seed)
    w = np.where(rng.random(x.shape[1]) < 0.1, rng.standard_normal(x.shape[1]), 0.0)
    return SmallSet(
        x, np.asarray(x @ w).ravel() + 0.3 * rng.standard_normal(x.shape[0]), {"loss": "squared", **model}
    )


def images(seed, n, d, k):
    rng = np.random.default_rng(seed)
    templates, y = rng.random((k, d)), rng.integers(0, k, n)
    x = 255.0 * templates[y] * (rng.random((n, d)) < 0.4) + rng.normal(0.0, 30.0, (n, d))
    return SmallSet(sp.csr_matrix(np.where(x < 60.0, 0.0, x)), y, {"loss": "softmax"})


def classes(seed, n, d, k, **model):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    y = (x @ rng.standard_normal((d, k)) + rng.gumbel(size=(n, k))).argmax(axis=1)
    return SmallSet(x, y, {"loss": "softmax", **model})


def poisson(seed, n, d):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return SmallSet(x, rng.poisson(np.exp(0.5 * margin(rng, x))).astype(float), {"loss": "poisson"})
