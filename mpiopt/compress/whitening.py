"""Coordinates for compressed differences: columns scaled one by one, or the square root of the metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Model = NDArray[np.float64]
Vector = NDArray[np.float64]


class Coordinates(Protocol):
    """A linear change of coordinates in which the curvature is near the identity.

    What a compressor loses is a part of the vector's norm; in these coordinates that norm is F's own, so that the
    loss is a part of what a step gains, however unlike the columns' units and however ill-conditioned the data are.
    """

    def of_model(self, w: Model) -> Model:
        """Give a difference of models, (outputs, width), in these coordinates, (outputs, used)."""
        ...

    def model(self, u: Model) -> Model:
        """Undo `of_model`."""
        ...

    def of_gradient(self, g: Model) -> Model:
        """Give a difference of gradients in the dual coordinates."""
        ...

    def gradient(self, v: Model) -> Model:
        """Undo `of_gradient`."""
        ...


@dataclass(frozen=True)
class Unscaled:
    """u = w and v = g, without padding."""

    columns: int  # in use
    width: int

    def of_model(self, w: Model) -> Model:
        """Give w."""
        return w[:, : self.columns]

    def model(self, u: Model) -> Model:
        """Give u."""
        return u if self.columns == self.width else _wide(u, self.width)

    of_gradient, gradient = of_model, model


@dataclass(frozen=True, eq=False)
class Scaled:
    """u_j = w_j/√c_j and v_j = g_j √c_j, where 1/c_j is the curvature of column j; nothing where c_j = 0."""

    root: Vector  # (used,) √c_j
    width: int

    def of_model(self, w: Model) -> Model:
        """Give w/√c."""
        short = w[:, : len(self.root)]
        return np.divide(short, self.root, out=np.zeros_like(short), where=self.root > 0.0)

    def model(self, u: Model) -> Model:
        """Give u √c."""
        return _wide(u * self.root, self.width)

    def of_gradient(self, g: Model) -> Model:
        """Give g √c."""
        return np.asarray(g[:, : len(self.root)] * self.root)

    def gradient(self, v: Model) -> Model:
        """Give v/√c."""
        return _wide(np.divide(v, self.root, out=np.zeros_like(v), where=self.root > 0.0), self.width)


@dataclass(frozen=True, eq=False)
class Whitened:
    """u = Lᵀ w and v = L⁻¹ g, with the metric P = L Lᵀ: ‖u‖² = wᵀ P w and ‖v‖² = gᵀ P⁻¹ g.

    The metric may be one for all outputs together or one that they share; its padding is left out.
    """

    lower: Matrix  # (m, m) L; zero where a column has no curvature
    inverse: Matrix  # (m, m) L⁻¹
    columns: int  # in use
    width: int

    def of_model(self, w: Model) -> Model:
        """Give Lᵀ w."""
        return self._short(w) @ self.lower

    def model(self, u: Model) -> Model:
        """Give L⁻ᵀ u."""
        return self._long(u @ self.inverse)

    def of_gradient(self, g: Model) -> Model:
        """Give L⁻¹ g."""
        return np.asarray(self._short(g) @ self.inverse.T)

    def gradient(self, v: Model) -> Model:
        """Give L v."""
        return self._long(v @ self.lower.T)

    def _short(self, w: Model) -> Model:
        return np.ascontiguousarray(w[:, : self.columns]).reshape(-1, len(self.lower))

    def _long(self, u: Model) -> Model:
        return _wide(u.reshape(-1, self.columns), self.width)


def _wide(u: Model, width: int) -> Model:
    out = np.zeros((len(u), width))
    out[:, : u.shape[1]] = u
    return out
