"""The small convolutional network of Cao, Luo, Gan, Jinesh, "Training Through Failure" (Stanford CS244B, 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mpiopt.studies.parameter_server.networks.base import Shape
from mpiopt.studies.parameter_server.networks.images import Convolution, Image, Pool
from mpiopt.studies.parameter_server.networks.layered import Layered
from mpiopt.studies.parameter_server.networks.layers import Dense, Dropout, Layer, Relu


@dataclass(frozen=True)
class Cnn(Layered):
    """Two 3 x 3 convolutions with ReLU and 2 x 2 maximum, a dense layer with dropout, a dense layer of the classes.

    On 28 x 28 pixels and 10 classes 813,258 parameters. The side of the square images must be a multiple of 4.
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
