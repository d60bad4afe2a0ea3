"""The separable penalties: none, ridge, lasso, elastic net."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.objective.penalties.base import Penalty


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """h(w) = 0; the optimum need not be unique, and the certificate is the Newton decrement."""

    name = "none"
    smooth = True


@dataclass(frozen=True)
class Ridge(Penalty):
    """h(w) = (l2/2) ‖w‖²; smooth and l2-strongly convex (Hoerl, Kennard 1970).

    Parameters
    ----------
    l2 : float
        Strength, at least 0.
    """

    name = "ridge"
    smooth = True

    l2: float = 1e-4


@dataclass(frozen=True)
class Lasso(Penalty):
    """h(w) = l1 ‖w‖₁; its optimum is sparse (Tibshirani 1996).

    Parameters
    ----------
    l1 : float
        Strength, at least 0.
    """

    name = "lasso"
    smooth = False

    l1: float = 1e-4


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """h(w) = l1 ‖w‖₁ + (l2/2) ‖w‖²; its optimum is sparse and, with l2 > 0, unique (Zou, Hastie 2005).

    Parameters
    ----------
    l1, l2 : float
        Strengths, at least 0.
    """

    name = "elastic-net"
    smooth = False

    l1: float = 1e-4
    l2: float = 1e-4
