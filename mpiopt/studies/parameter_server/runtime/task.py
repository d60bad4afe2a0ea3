"""What is learned: the network, the rows, the step. All of it local and pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mpiopt.core.rng import generator
from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.networks.base import Array, Network, Shape
from mpiopt.studies.parameter_server.runtime.examples import Examples

START, BATCH = 101, 102  # streams of randomness


@dataclass(frozen=True, eq=False)
class ServerTask:
    """A problem and how steps are made on it."""

    network: Network
    backlog: Backlog
    rows: Examples
    step: float = 1e-2  # η
    batch: int = 32
    seed: int = 0

    @property
    def shape(self) -> Shape:
        """Features and classes."""
        return self.rows.shape

    def start(self) -> Array:
        """Give the weights of version 0, float32: the same on all ranks."""
        drawn = self.network.start(self.shape, generator(self.seed, START, 0, 0))
        return drawn.astype(np.float32)

    def gradient(self, w: Array, worker: int, life: int, count: int) -> Array:
        """Give the gradient at w on the batch that this worker draws in its `count`-th turn of this life."""
        draw = generator(self.seed, BATCH, count, (life << 20) + worker)
        chosen = draw.integers(0, len(self.rows), self.batch)
        x, y = self.rows.batch(chosen)
        return self.network.value_gradient(w, x, y, self.shape, draw)[1]

    def stepped(self, w: Array, gradients: Iterable[Array]) -> Array:
        """Give w − η Σ g: gradients that come together are summed, as in the paper."""
        total = np.zeros_like(w)
        for g in gradients:
            total += g
        return w - np.float32(self.step) * total

    def accuracy(self, w: Array, rows: Examples) -> float:
        """Give the accuracy on these rows."""
        x, y = rows.all()
        return self.network.right(w, x, y, self.shape)
