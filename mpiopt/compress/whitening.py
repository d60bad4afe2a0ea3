"""Coordinates for compressed differences: columns scaled one by one, or the square root of the preconditioner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Model = NDArray[np.float64]  # (outputs, width)
Vector = NDArray[np.float64]


class Coordinates(Protocol):
    """A linear change of coordinates in which the curvature is near the identity.

    The error of a compressor is relative to the norm of the vector. In these coordinates that norm is F's own. So the
    error is a share of the progress of a step, however the columns are scaled and however ill-conditioned the data
    are. Gradients have the dual coordinates: products of models and gradients do not change.
    """

    def of_model(self, w: Model) -> Model:
        """Return a difference of models, (outputs, width), in these coordinates, (outputs, used)."""
        ...

    def model(self, u: Model) -> Model:
        """Undo `of_model`."""
        ...

    def of_gradient(self, g: Model) -> Model:
        """Return a difference of gradients in the dual coordinates."""
        ...

    def gradient(self, v: Model) -> Model:
        """Undo `of_gradient`."""
        ...


@dataclass(frozen=True, eq=False)
class Scaled:
    """u_j = w_j/√c_j and v_j = g_j √c_j, where 1/c_j is the curvature of column j; 0 where c_j = 0.

    With c = 1 it only leaves out the padding.
    """

    root: Vector  # (used,) √c_j
    width: int

    def of_model(self, w: Model) -> Model:
        """Return w/√c."""
        return self._divided(w[:, : len(self.root)])

    def model(self, u: Model) -> Model:
        """Return u √c."""
        return _padded(u * self.root, self.width)

    def of_gradient(self, g: Model) -> Model:
        """Return g √c."""
        return np.asarray(g[:, : len(self.root)] * self.root)

    def gradient(self, v: Model) -> Model:
        """Return v/√c."""
        return _padded(self._divided(v), self.width)

    def _divided(self, x: Model) -> Model:
        return np.divide(x, self.root, out=np.zeros_like(x), where=self.root > 0.0)


@dataclass(frozen=True, eq=False)
class Whitened:
    """u = Lᵀ w and v = L⁻¹ g, with the preconditioner P = L Lᵀ: ‖u‖² = wᵀ P w and ‖v‖² = gᵀ P⁻¹ g.

    P is one matrix for all outputs together or one that each output uses; the padding is left out.
    """

    lower: Matrix  # (m, m) L; zero where a column has no curvature
    inverse: Matrix  # (m, m) L⁻¹
    columns: int  # in use
    width: int

    def of_model(self, w: Model) -> Model:
        """Return Lᵀ w."""
        return self._short(w) @ self.lower

    def model(self, u: Model) -> Model:
        """Return L⁻ᵀ u."""
        return self._long(u @ self.inverse)

    def of_gradient(self, g: Model) -> Model:
        """Return L⁻¹ g."""
        return np.asarray(self._short(g) @ self.inverse.T)

    def gradient(self, v: Model) -> Model:
        """Return L v."""
        return self._long(v @ self.lower.T)

    def _short(self, w: Model) -> Model:
        return np.ascontiguousarray(w[:, : self.columns]).reshape(-1, len(self.lower))

    def _long(self, u: Model) -> Model:
        return _padded(u.reshape(-1, self.columns), self.width)


def _padded(u: Model, width: int) -> Model:
    """Return u with columns of zeros up to `width`."""
    out = np.zeros((len(u), width))
    out[:, : u.shape[1]] = u
    return out
