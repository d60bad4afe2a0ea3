"""Layers of networks and their derivatives, as matrix products of BLAS.

The parameters of a layer, and the place for their gradient, are flat views of vectors of the whole network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array


class Layer(Protocol):
    """One layer y = f(x; p); `forward` also returns what the derivatives need."""

    @property
    def size(self) -> int:
        """Number of parameters."""
        ...

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output."""
        ...

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Return y and what is kept for the derivatives; `draw` is None outside training."""
        ...

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """Write the derivative by p to g, given the derivative `dy` by y."""
        ...

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return the derivative by x, given the derivative `dy` by y."""
        ...


class Unweighted:
    """A layer without parameters."""

    size = 0
    fan_in = 1

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Dense:
    """y = x A + b with flattened rows x; p holds A (inputs, outputs), then b (outputs,)."""

    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        """Number of weights and constants."""
        return (self.inputs + 1) * self.outputs

    @property
    def fan_in(self) -> int:
        """Number of inputs."""
        return self.inputs

    def _parts(self, p: Array) -> tuple[Array, Array]:
        return p[: -self.outputs].reshape(self.inputs, self.outputs), p[-self.outputs :]

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Return x A + b."""
        a, b = self._parts(p)
        flat = x.reshape(len(x), self.inputs)
        y = flat @ a
        y += b
        return y, (flat, x.shape)

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """Write ∂A = xᵀ dy and ∂b = Σ dy."""
        a, b = self._parts(g)
        np.matmul(kept[0].T, dy, out=a)
        dy.sum(axis=0, out=b)

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return ∂x = dy Aᵀ."""
        return np.asarray((dy @ self._parts(p)[0].T).reshape(kept[1]))


class Relu(Unweighted):
    """max(x, 0)."""

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Return max(x, 0)."""
        y = np.maximum(x, 0)
        return y, y

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return dy where the output was positive, else 0."""
        return np.asarray(dy * (kept > 0))


@dataclass(frozen=True)
class Dropout(Unweighted):
    """In training each number becomes 0 with probability `rate`, or is divided by 1 − rate, which keeps the mean."""

    rate: float

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Draw which numbers stay."""
        if draw is None or self.rate == 0.0:
            return x, None
        kept = (draw.random(x.shape, np.float32) >= self.rate) / np.asarray(1.0 - self.rate, x.dtype)
        return x * kept, kept

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return dy for the numbers that stayed, else 0."""
        return dy if kept is None else np.asarray(dy * kept)
