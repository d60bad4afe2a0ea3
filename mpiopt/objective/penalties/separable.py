"""The elastic net (Zou, Hastie 2005).

The lasso (Tibshirani 1996).

No penalty: h = 0.

Ridge (Hoerl, Kennard 1970).
"""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.objective.penalties.base import Penalty


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """h(w) = l1 ‖w‖₁ + (l2/2) ‖w‖²; its optimum is sparse and, with l2 > 0, unique."""

    name = "elastic-net"
    smooth = False

    l1: float = 1e-4
    l2: float = 1e-4


@dataclass(frozen=True)
class Lasso(Penalty):
    """h(w) = l1 ‖w‖₁; its optimum is sparse."""

    name = "lasso"
    smooth = False

    l1: float = 1e-4


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """h(w) = 0; the optimum need not be unique."""

    name = "none"
    smooth = True


@dataclass(frozen=True)
class Ridge(Penalty):
    """h(w) = (l2/2) ‖w‖²; smooth and l2-strongly convex."""

    name = "ridge"
    smooth = True

    l2: float = 1e-4
