"""The lasso (Tibshirani 1996)."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.penalties import Penalty


@dataclass(frozen=True)
class Lasso(Penalty):
    """h(w) = l1 ‖w‖₁; its optimum is sparse."""

    name = "lasso"
    smooth = False

    l1: float = 1e-4
