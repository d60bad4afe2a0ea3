"""Networks of layers with softmax at their end: what is the same for all of them."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array, Labels, Network, Shape
from mpiopt.studies.parameter_server.networks.layers import Layer

PIECE = 100  # rows of a prediction at a time


@dataclass(frozen=True)
class Layered(Network):
    """A classifier: layers, then mean cross-entropy of softmax."""

    @abstractmethod
    def layers(self, shape: Shape) -> Sequence[Layer]:
        """Give the layers in their order; ValueError where data of this shape do not fit."""

    def size(self, shape: Shape) -> int:
        """Add up the layers."""
        return sum(layer.size for layer in self.layers(shape))

    def start(self, shape: Shape, draw: np.random.Generator) -> Array:
        """Draw evenly within ±1/√(inputs of an output), weights and constants (PyTorch's default)."""
        layers = self.layers(shape)
        return np.concatenate([draw.uniform(-1.0, 1.0, one.size) / np.sqrt(one.fan_in) for one in layers])

    def value_gradient(
        self, w: Array, x: Array, y: Labels, shape: Shape, draw: np.random.Generator | None
    ) -> tuple[float, Array]:
        """Go forward through all layers and back."""
        layers = self.layers(shape)
        parts = parted(layers, w)
        z, kept = forward(layers, parts, x, draw)
        value, dz = cross_entropy(z, y)
        gradient = np.empty_like(w)
        backward(layers, parts, kept, dz, parted(layers, gradient))
        return value, gradient

    def right(self, w: Array, x: Array, y: Labels, shape: Shape) -> float:
        """Give the share of rows whose largest output is that of their class."""
        layers = self.layers(shape)
        parts, found = parted(layers, w), 0
        for start in range(0, len(x), PIECE):
            z, _ = forward(layers, parts, x[start : start + PIECE], None)
            found += int((z.argmax(axis=1) == y[start : start + PIECE]).sum())
        return found / len(x)


def parted(layers: Sequence[Layer], w: Array) -> list[Array]:
    """Cut a vector into views, one for each layer."""
    ends = list(itertools.accumulate((layer.size for layer in layers), initial=0))
    return [w[a:b] for a, b in itertools.pairwise(ends)]


def forward(
    layers: Sequence[Layer], parts: Sequence[Array], x: Array, draw: np.random.Generator | None
) -> tuple[Array, list[Any]]:
    """Give the outputs and what each layer keeps."""
    kept = []
    for layer, p in zip(layers, parts, strict=True):
        x, more = layer.forward(p, x, draw)
        kept.append(more)
    return x, kept


def backward(
    layers: Sequence[Layer], parts: Sequence[Array], kept: Sequence[Any], dz: Array, gradient: Sequence[Array]
) -> None:
    """Fill in the gradient; the derivative by the data themselves is nobody's."""
    first = next(i for i, layer in enumerate(layers) if layer.size)
    for i in range(len(layers) - 1, first - 1, -1):
        layers[i].gradient(kept[i], dz, gradient[i])
        if i > first:
            dz = layers[i].back(parts[i], kept[i], dz)


def cross_entropy(z: Array, y: Labels) -> tuple[float, Array]:
    """Give the mean of log Σ_c exp(z_c) - z_y and its derivative by z."""
    rows = np.arange(len(z)), y.astype(np.int64)
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    value = float(np.mean(np.log(total[:, 0]) - shifted[rows]))
    p /= total
    p[rows] -= 1.0
    p /= len(z)
    return value, p
