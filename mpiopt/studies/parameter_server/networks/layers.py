"""Layers of networks and their derivatives: matrix products of BLAS.

Parameters of a layer come as a flat view of the network's vector, and so does the place for their gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array


class Layer(Protocol):
    """One step of a network: y = f(x; p). What `forward` keeps is what the derivatives need."""

    @property
    def size(self) -> int:
        """The number of its parameters."""
        ...

    @property
    def fan_in(self) -> int:
        """The number of inputs of one output."""
        ...

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Give y, and what is kept."""
        ...

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """Write the derivative by p to g, for the derivative `dy` by y."""
        ...

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Give the derivative by x."""
        ...


class Unweighted:
    """A layer without parameters."""

    size = 0
    fan_in = 1

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Dense:
    """y = x A + b, all inputs of a row flat; p holds A (inputs, outputs), then b."""

    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        """Weights and constants."""
        return (self.inputs + 1) * self.outputs

    @property
    def fan_in(self) -> int:
        """All inputs."""
        return self.inputs

    def _parts(self, p: Array) -> tuple[Array, Array]:
        return p[: -self.outputs].reshape(self.inputs, self.outputs), p[-self.outputs :]

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Multiply."""
        a, b = self._parts(p)
        flat = x.reshape(len(x), self.inputs)
        y = flat @ a
        y += b
        return y, (flat, x.shape)

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """∂A = xᵀ dy, ∂b = Σ dy."""
        a, b = self._parts(g)
        np.matmul(kept[0].T, dy, out=a)
        dy.sum(axis=0, out=b)

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """∂x = dy Aᵀ."""
        return np.asarray((dy @ self._parts(p)[0].T).reshape(kept[1]))


class Relu(Unweighted):
    """max(x, 0)."""

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Cut off."""
        y = np.maximum(x, 0)
        return y, y

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Pass where it was positive."""
        return np.asarray(dy * (kept > 0))


@dataclass(frozen=True)
class Dropout(Unweighted):
    """In training, each number is 0 with this probability and else divided by the rest, so the mean stays."""

    rate: float

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Draw who stays."""
        if draw is None or self.rate == 0.0:
            return x, None
        stays = (draw.random(x.shape, np.float32) >= self.rate) / np.asarray(1.0 - self.rate, x.dtype)
        return x * stays, stays

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Pass to who stayed."""
        return dy if kept is None else np.asarray(dy * kept)
