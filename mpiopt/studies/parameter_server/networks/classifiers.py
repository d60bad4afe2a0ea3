"""Classifiers that are a sequence of layers with softmax at the end: a perceptron and a convolutional network."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array, Labels, Network, Shape
from mpiopt.studies.parameter_server.networks.layers import Convolution, Dense, Dropout, Image, Layer, Pool, Relu

PIECE = 100  # rows that are predicted at a time


@dataclass(frozen=True)
class Layered(Network):
    """A classifier: a sequence of layers, then the mean cross-entropy of softmax."""

    @abstractmethod
    def layers(self, shape: Shape) -> Sequence[Layer]:
        """Return the layers in their order; ValueError if data of this shape do not fit."""

    def size(self, shape: Shape) -> int:
        """Return the number of parameters of all layers."""
        return sum(layer.size for layer in self.layers(shape))

    def start(self, shape: Shape, draw: np.random.Generator) -> Array:
        """Draw weights and constants uniformly from ±1/√fan_in, PyTorch's default."""
        layers = self.layers(shape)
        return np.concatenate([draw.uniform(-1.0, 1.0, one.size) / np.sqrt(one.fan_in) for one in layers])

    def value_gradient(
        self, w: Array, x: Array, y: Labels, shape: Shape, draw: np.random.Generator | None
    ) -> tuple[float, Array]:
        """Return mean loss and gradient by back-propagation."""
        layers = self.layers(shape)
        parts = split(layers, w)
        z, kept = forward(layers, parts, x, draw)
        value, dz = cross_entropy(z, y)
        gradient = np.empty_like(w)
        backward(layers, parts, kept, dz, split(layers, gradient))
        return value, gradient

    def accuracy(self, w: Array, x: Array, y: Labels, shape: Shape) -> float:
        """Return the share of rows whose largest output is that of their class."""
        layers = self.layers(shape)
        parts, right = split(layers, w), 0
        for start in range(0, len(x), PIECE):
            z, _ = forward(layers, parts, x[start : start + PIECE], None)
            right += int((z.argmax(axis=1) == y[start : start + PIECE]).sum())
        return right / len(x)


@dataclass(frozen=True)
class Mlp(Layered):
    """A dense layer, ReLU, a dense layer of the classes (Rumelhart, Hinton, Williams, Nature 1986)."""

    name = "mlp"
    hidden: int = 64

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {self.hidden}")

    def layers(self, shape: Shape) -> Sequence[Layer]:
        """Return the two dense layers."""
        if shape.classes < 2:
            raise ValueError("mlp takes classes, not a real target")
        return [Dense(shape.features, self.hidden), Relu(), Dense(self.hidden, shape.classes)]


@dataclass(frozen=True)
class Cnn(Layered):
    """Two 3 x 3 convolutions with ReLU and 2 x 2 maximum, a dense layer with dropout, a dense layer of the classes.

    The network of Cao, Luo, Gan, Jinesh, "Training Through Failure" (Stanford CS244B, 2024): on 28 x 28 pixels and
    10 classes it has 813,258 parameters. The side of the square images must be a multiple of 4.
    `relu_on_logits` does what the paper's code does, although its text does not say so.
    """

    name = "cnn"
    channels: int = 16
    hidden: int = 512
    dropout: float = 0.25
    relu_on_logits: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1 or self.hidden < 1:
            raise ValueError("channels and hidden must be at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")

    def layers(self, shape: Shape) -> Sequence[Layer]:
        """Return the layers; ReLU after the maximum gives the same result for a quarter of the work."""
        side = math.isqrt(shape.features)
        if side * side != shape.features or side % 4 or shape.classes < 2:
            raise ValueError(
                f"cnn takes classes of square images with a side that is a multiple of 4, not {shape.features} "
                f"features and {shape.classes} classes"
            )
        c, flat = self.channels, 2 * self.channels * (side // 4) ** 2
        return [
            *(Image(side), Convolution(1, c), Pool(), Relu()),
            *(Convolution(c, 2 * c), Pool(), Relu()),
            *(Dense(flat, self.hidden), Relu(), Dropout(self.dropout), Dense(self.hidden, shape.classes)),
            *([Relu()] if self.relu_on_logits else []),
        ]


def split(layers: Sequence[Layer], w: Array) -> list[Array]:
    """Return views of a vector, one for each layer."""
    ends = list(itertools.accumulate((layer.size for layer in layers), initial=0))
    return [w[a:b] for a, b in itertools.pairwise(ends)]


def forward(
    layers: Sequence[Layer], parts: Sequence[Array], x: Array, draw: np.random.Generator | None
) -> tuple[Array, list[Any]]:
    """Return the outputs and what each layer keeps for the derivatives."""
    kept = []
    for layer, p in zip(layers, parts, strict=True):
        x, more = layer.forward(p, x, draw)
        kept.append(more)
    return x, kept


def backward(
    layers: Sequence[Layer], parts: Sequence[Array], kept: Sequence[Any], dz: Array, gradient: Sequence[Array]
) -> None:
    """Write the gradient; the derivative by the data is not computed."""
    first = next(i for i, layer in enumerate(layers) if layer.size)
    for i in range(len(layers) - 1, first - 1, -1):
        layers[i].gradient(kept[i], dz, gradient[i])
        if i > first:
            dz = layers[i].back(parts[i], kept[i], dz)


def cross_entropy(z: Array, y: Labels) -> tuple[float, Array]:
    """Return the mean of log Σ_c exp(z_c) − z_y and its derivative by z, for logits z (n, C)."""
    rows = np.arange(len(z)), y.astype(np.int64)
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    value = float(np.mean(np.log(total[:, 0]) - shifted[rows]))
    p /= total
    p[rows] -= 1.0
    p /= len(z)
    return value, p
