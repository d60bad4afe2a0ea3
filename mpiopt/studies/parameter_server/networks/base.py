"""Models that a parameter server trains: a value and a gradient on a batch, all parameters in one vector.

One model is one file. The convex models of the house are among them (`linear`); the others need not be convex.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import Plugin

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.float64]


class Shape(NamedTuple):
    """What a model is made for."""

    features: int
    classes: int  # 0: a real target


@dataclass(frozen=True)
class Network(Plugin, ABC):
    """A function of the parameters w, shape (size,), float32 or float64, and of a batch x (n, features), y (n,).

    Labels are classes 0 … C-1, or real numbers where the model's loss takes them. Everything is computed in the type
    of w; x is given in that type.
    """

    @abstractmethod
    def size(self, shape: Shape) -> int:
        """Give the number of parameters.

        Raises
        ------
        ValueError
            Where the model can not take data of this shape.
        """

    @abstractmethod
    def start(self, shape: Shape, draw: np.random.Generator) -> Array:
        """Draw the parameters to start from, float64; shape (size,)."""

    @abstractmethod
    def value_gradient(
        self, w: Array, x: Array, y: Labels, shape: Shape, draw: np.random.Generator | None
    ) -> tuple[float, Array]:
        """Give the mean loss of a batch and its gradient; `draw` is what is random in training, None: nothing is."""

    @abstractmethod
    def right(self, w: Array, x: Array, y: Labels, shape: Shape) -> float:
        """Give the accuracy on rows: the share of right classes, or R² where the target is real."""
