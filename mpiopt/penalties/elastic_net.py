"""The elastic net (Zou, Hastie 2005)."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.penalties import Penalty


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """h(w) = l1 ‖w‖₁ + (l2/2) ‖w‖²; its optimum is sparse and, with l2 > 0, unique."""

    name = "elastic-net"
    smooth = False

    l1: float = 1e-4
    l2: float = 1e-4
