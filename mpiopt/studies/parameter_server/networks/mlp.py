"""A network with one hidden layer (Rumelhart, Hinton, Williams, Nature 1986)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpiopt.studies.parameter_server.networks.base import Shape
from mpiopt.studies.parameter_server.networks.layered import Layered
from mpiopt.studies.parameter_server.networks.layers import Dense, Layer, Relu


@dataclass(frozen=True)
class Mlp(Layered):
    """A dense layer, ReLU, a dense layer of the classes."""

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
