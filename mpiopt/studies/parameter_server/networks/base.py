"""The family of models that a parameter server trains: value and gradient on a batch, parameters in one vector.

The convex models of mpiopt are among them (`linear`); the others need not be convex.
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
    """The data that a model is made for."""

    features: int
    classes: int  # 0: a real target


@dataclass(frozen=True)
class Network(Plugin, ABC):
    """A model with parameters w, shape (size,), float32 or float64, on batches x (n, features) and y (n,).

    Labels are classes 0 … C-1, or real numbers if the model's loss takes them. Everything is computed in the type
    of w, and x has that type.
    """

    @abstractmethod
    def size(self, shape: Shape) -> int:
        """Return the number of parameters.

        Raises
        ------
        ValueError
            If the model cannot take data of this shape.
        """

    @abstractmethod
    def start(self, shape: Shape, draw: np.random.Generator) -> Array:
        """Draw the initial parameters, float64, shape (size,)."""

    @abstractmethod
    def value_gradient(
        self, w: Array, x: Array, y: Labels, shape: Shape, draw: np.random.Generator | None
    ) -> tuple[float, Array]:
        """Return the mean loss of a batch and its gradient.

        Parameters
        ----------
        w
            Parameters, shape (size,).
        x
            Rows, shape (n, features), in the type of w.
        y
            Labels, shape (n,).
        shape
            The data that the model is made for.
        draw
            Generator of what is random in training (dropout); None switches it off.
        """

    @abstractmethod
    def accuracy(self, w: Array, x: Array, y: Labels, shape: Shape) -> float:
        """Return the share of rows whose class is right, or R² if the target is real."""
