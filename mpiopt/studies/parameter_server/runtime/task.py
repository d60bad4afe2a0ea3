"""What is learned: the network, the rows, the step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mpiopt.core.rng import generator
from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.networks.base import Array, Network, Shape
from mpiopt.studies.parameter_server.runtime.examples import Examples

START, BATCH = 101, 102  # streams of random numbers


@dataclass(frozen=True, eq=False)
class ServerTask:
    """A problem and the way that steps are made on it."""

    network: Network
    backlog: Backlog
    rows: Examples
    step: float = 1e-2  # η
    batch: int = 32
    seed: int = 0

    @property
    def shape(self) -> Shape:
        """Features and classes of the rows."""
        return self.rows.shape

    def start(self) -> Array:
        """Return the weights of version 0, float32, the same on all ranks."""
        drawn = self.network.start(self.shape, generator(self.seed, START, 0, 0))
        return drawn.astype(np.float32)

    def gradient(self, w: Array, worker: int, incarnation: int, count: int) -> Array:
        """Return the gradient at w on the batch number `count` of this worker since it started."""
        draw = generator(self.seed, BATCH, count, (incarnation << 20) + worker)
        chosen = draw.integers(0, len(self.rows), self.batch)
        x, y = self.rows.batch(chosen)
        return self.network.value_gradient(w, x, y, self.shape, draw)[1]

    def stepped(self, w: Array, gradients: Iterable[Array]) -> Array:
        """Return w − η Σ g; as in the paper, gradients that arrive together are summed."""
        total = np.zeros_like(w)
        for g in gradients:
            total += g
        return w - np.float32(self.step) * total

    def accuracy(self, w: Array, rows: Examples) -> float:
        """Return the accuracy on these rows."""
        x, y = rows.all()
        return self.network.accuracy(w, x, y, self.shape)
