"""Gradient steps of ranks that mix their models with their neighbours', one message along each edge an iteration.

W[i, j] is what rank i takes of rank j's numbers (`mpiopt.weights`), g_i = ∇f_i; the ranks want the minimum of Σ f_i.

    DGD        x_i ← Σ_j W_ij x_j − γ g_i(x_i)
    tracking   x_i ← Σ_j W_ij x_j − γ y_i,  v_i ← Σ_j W_ij v_j
               z_i = x_i/v_i,  y_i ← Σ_j W_ij y_j + g_i(z_i new) − g_i(z_i)

A. Nedić, A. Ozdaglar, IEEE TAC 54, 2009; C. Xi, R. Xin, U. A. Khan, ADD-OPT, IEEE TAC 63, 2018. For DGD W is doubly
stochastic. Tracking takes column-stochastic weights, which every graph has: v_i, 1 at first, undoes their lack of
balance (push-sum); with doubly stochastic ones v_i stays 1 and is not sent. Σ y_i = Σ g_i always, so that all z_i
come to the optimum, with SAGA's g_i as well, at a linear rate where F is strongly convex. DGD stays O(γ) away.

An iteration is a generator, as in `mpiopt.consensus`: it yields what it sends and gets what its in-neighbours sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus import Array, Protocol
from mpiopt.graph import Graph, Matrix
from mpiopt.state import PerRank

Model = NDArray[np.float64]
Gradient = Callable[[Model], Model]


@dataclass
class Place:
    """Where a rank is; changed in place."""

    own: PerRank  # x_i
    mass: PerRank  # (1,) v_i; (0,) where weights are doubly stochastic
    tracker: PerRank  # y_i
    seen: PerRank  # g_i at the model

    @property
    def model(self) -> Model:
        """z_i; x_i itself without mass."""
        return np.asarray(self.own / self.mass) if self.mass.size else self.own


class Row(NamedTuple):
    """A rank's row of the weights."""

    own: float
    others: tuple[float, ...]  # of the in-neighbours, ascending


def row_of(weights: Matrix, graph: Graph, rank: int) -> Row:
    """Give the row of a rank."""
    return Row(float(weights[rank, rank]), tuple(float(weights[rank, j]) for j in graph.incoming[rank]))


def descend(place: Place, row: Row, gradient: Gradient, gamma: float) -> Protocol[None]:
    """Do an iteration of DGD."""
    received = yield place.own.reshape(-1).copy()
    g = gradient(place.own)
    with np.errstate(over="ignore", invalid="ignore"):
        place.own[...] = mixed(place.own.reshape(-1), received, row).reshape(g.shape) - gamma * g


def track(place: Place, row: Row, gradient: Gradient, gamma: float) -> Protocol[None]:
    """Do an iteration with gradient tracking; message: x, y, and v where there is one."""
    sent = np.concatenate([place.own.reshape(-1), place.tracker.reshape(-1), place.mass])
    received = yield sent
    d = place.own.size
    x, y, v = np.split(mixed(sent, received, row), [d, 2 * d])
    with np.errstate(over="ignore", invalid="ignore"):
        place.own[...] = x.reshape(place.own.shape) - gamma * place.tracker
        place.mass[...] = v
        model = place.model
    g = gradient(model)
    with np.errstate(over="ignore", invalid="ignore"):
        place.tracker[...] = y.reshape(g.shape) + (g - place.seen)
    place.seen[...] = g


def start(place: Place, at: Model, gradient: Gradient) -> None:
    """Begin at a model that all ranks have: y_i = g_i."""
    place.own[...], place.mass[...] = at, 1.0
    place.seen[...] = gradient(place.own)
    place.tracker[...] = place.seen


def mixed(own: Array, received: Sequence[Array], row: Row) -> Array:
    """Give Σ_j W_ij x_j, this rank's own part first."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = row.own * own
        for weight, other in zip(row.others, received, strict=True):
            total += weight * other
    return np.asarray(total)
