"""Add a loss, and train with it: python add_a_loss.py, or mpirun -n 2 python add_a_loss.py.

The loss is known as soon as its class exists. In a file of its own in the package of losses it is known everywhere;
docs/howto/plugins.md explains each part.
"""

import math
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

import mpiopt
from mpiopt.objective.losses.base import BlockFunctions, Loss


def _value(z, y, out, n, outputs):
    for i in range(n):
        out[i] = math.sqrt(1.0 + (z[i] - y[i]) ** 2) - 1.0


def _slope(z, y, out, n, outputs):
    for i in range(n):
        out[i] = (z[i] - y[i]) / math.sqrt(1.0 + (z[i] - y[i]) ** 2)


def _curvature(z, y, out, n, outputs):
    for i in range(n):
        out[i] = (1.0 + (z[i] - y[i]) ** 2) ** -1.5


@dataclass(frozen=True)
class PseudoHuber(Loss):
    """√(1 + (z − y)²) − 1 for real targets: squared near the target, linear far from it (Charbonnier et al. 1997)."""

    name = "pseudo-huber"
    target = "real"
    curvature_bound = 1.0

    @property
    def functions(self):
        """Value, slope and curvature of n margins."""
        return BlockFunctions(_value, _slope, _curvature)


if __name__ == "__main__":
    comm = MPI.COMM_WORLD
    rng = np.random.default_rng(comm.rank)
    x = rng.normal(size=(2000, 5))
    y = x @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) + rng.standard_t(2, size=2000)  # targets with outliers
    fit = mpiopt.fit(x, y, comm, loss="pseudo-huber", intercept=False)
    if comm.rank == 0:
        print(f"{fit.loss}: certified {fit.certified}, coefficients {fit.coef[0].round(2)}")
