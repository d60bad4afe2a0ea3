"""The penalty on the norms of groups of columns."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.objective.penalties.base import Penalty


@dataclass(frozen=True)
class GroupLasso(Penalty):
    """h(w) = l1 Σ_g √size_g ‖w_g‖₂ + (l2/2) ‖w‖²; the weights of a group are 0 together (Yuan, Lin 2006).

    The groups are those of the objective (`mpiopt.objective.column_groups`); without them each column is one, and
    the penalty is the elastic net.

    Parameters
    ----------
    l1, l2 : float
        Strengths, at least 0.
    """

    name = "group-lasso"
    smooth = False

    l1: float = 1e-4
    l2: float = 1e-4
