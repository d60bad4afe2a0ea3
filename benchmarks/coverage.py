"""`python -m benchmarks.coverage`: how often the 95 % intervals of `summary` hold the true coefficients.

Each set has made-up rows and targets of the model that is fitted, without a penalty. All intervals of all sets are
counted. With 500 sets of three coefficients the standard deviation of the share is at most 1 %.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.inference.summary import InferenceOptions
from mpiopt.training.fit import fit

Vector = NDArray[np.float64]

TRUTH = np.array([0.2, 0.5, -0.3])  # the constant, and two coefficients
TOLERANCE = 1e-9
LOSSES = ("squared", "logistic", "poisson")
KINDS = ("model", "HC3")


class Coverage(NamedTuple):
    """The share of intervals that hold the true coefficient."""

    loss: str
    covariance: str
    share: float


def covered(loss: str, sets: int, rows: int, covariance: str = "model", seed: int = 5) -> Coverage:
    """Simulate and count."""
    rng, held = np.random.default_rng(seed), 0
    for _ in range(sets):
        x = rng.normal(size=(rows, len(TRUTH) - 1))
        y = targets(rng, loss, TRUTH[0] + x @ TRUTH[1:])
        found = fit(x, y, loss=loss, l2=0.0, tol=TOLERANCE, algorithm="newton")
        ends = found.summary(x, y, options=InferenceOptions(covariance=covariance)).intervals
        held += int(((ends[:, 0] <= TRUTH) & (ends[:, 1] >= TRUTH)).sum())
    return Coverage(loss, covariance, held / (sets * len(TRUTH)))


def targets(rng: np.random.Generator, loss: str, margin: Vector) -> Vector:
    """Draw targets of the loss's distribution."""
    draws = {
        "squared": lambda: margin + rng.normal(size=len(margin)),
        "logistic": lambda: (rng.random(len(margin)) < 1.0 / (1.0 + np.exp(-margin))).astype(np.float64),
        "poisson": lambda: rng.poisson(np.exp(margin)).astype(np.float64),
    }
    return draws[loss]()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--rows", type=int, default=200)
    chosen = parser.parse_args()
    for loss in LOSSES:
        for kind in KINDS:
            print("{:<18} {:<6} {:.1%}".format(*covered(loss, chosen.sets, chosen.rows, kind)))


if __name__ == "__main__":
    main()
