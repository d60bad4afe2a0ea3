"""Layers of networks and their derivatives, as matrix products of BLAS.

Images have shape (n, height, width, channels).

The parameters of a layer, and the place for their gradient, are flat views of vectors of the whole network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array


class Layer(ABC):
    """One layer y = f(x; p), without parameters unless `size` and `gradient` say otherwise."""

    @property
    def size(self) -> int:
        """Number of parameters."""
        return 0

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output."""
        return 1

    @abstractmethod
    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Return y and what is kept for the derivatives; `draw` is None outside training."""

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """Write the derivative by p to g, given the derivative `dy` by y; nothing without parameters."""
        return

    @abstractmethod
    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return the derivative by x, given the derivative `dy` by y."""


@dataclass(frozen=True)
class Dense(Layer):
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


class Relu(Layer):
    """max(x, 0)."""

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Return max(x, 0)."""
        y = np.maximum(x, 0)
        return y, y

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return dy where the output was positive, else 0."""
        return np.asarray(dy * (kept > 0))


@dataclass(frozen=True)
class Dropout(Layer):
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


@dataclass(frozen=True)
class Convolution(Layer):
    """3 x 3 filters with padding 1: a dense layer on the 9 C numbers in the neighbourhood of each pixel."""

    channels: int
    filters: int

    @property
    def _dense(self) -> Dense:
        return Dense(9 * self.channels, self.filters)

    @property
    def size(self) -> int:
        """Number of weights and constants."""
        return self._dense.size

    @property
    def fan_in(self) -> int:
        """Numbers in a neighbourhood."""
        return 9 * self.channels

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Collect the neighbourhoods as rows and apply the dense layer."""
        n, height, width, channels = x.shape
        padded = np.zeros((n, height + 2, width + 2, channels), x.dtype)
        padded[:, 1:-1, 1:-1] = x
        patches = np.empty((n, height, width, 3, 3, channels), x.dtype)
        for i in range(3):
            for j in range(3):
                patches[:, :, :, i, j] = padded[:, i : i + height, j : j + width]
        y, kept = self._dense.forward(p, patches.reshape(n * height * width, -1), draw)
        return y.reshape(n, height, width, self.filters), (kept, x.shape)

    def gradient(self, kept: Any, dy: Array, g: Array) -> None:
        """Write the gradient of the dense layer."""
        self._dense.gradient(kept[0], dy.reshape(-1, self.filters), g)

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Sum the derivatives of all neighbourhoods of each pixel."""
        n, height, width, channels = kept[1]
        patches = self._dense.back(p, kept[0], dy.reshape(-1, self.filters))
        patches = patches.reshape(n, height, width, 3, 3, channels)
        padded = np.zeros((n, height + 2, width + 2, channels), dy.dtype)
        for i in range(3):
            for j in range(3):
                padded[:, i : i + height, j : j + width] += patches[:, :, :, i, j]
        inner: Array = padded[:, 1:-1, 1:-1]
        return inner


class Pool(Layer):
    """The largest of each 2 x 2 pixels; the derivative goes to the first of the largest."""

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Return the maxima."""
        quarters = _quarters(x)
        y = np.maximum(np.maximum(quarters[0], quarters[1]), np.maximum(quarters[2], quarters[3]))
        return y, (x, y)

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return the derivatives at the places of the maxima, else 0."""
        x, y = kept
        dx: Array = np.empty_like(x)
        left = dy.copy()
        for quarter, d in zip(_quarters(x), _quarters(dx), strict=True):
            np.multiply(left, quarter == y, out=d)
            left -= d
        return dx


def _quarters(x: Array) -> list[Array]:
    return [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


@dataclass(frozen=True)
class Image(Layer):
    """A row of pixels as a square image of one channel."""

    side: int

    def forward(self, p: Array, x: Array, draw: np.random.Generator | None) -> tuple[Array, Any]:
        """Return the rows as images."""
        return x.reshape(len(x), self.side, self.side, 1), None

    def back(self, p: Array, kept: Any, dy: Array) -> Array:
        """Return the images as rows."""
        return np.asarray(dy.reshape(len(dy), -1))
