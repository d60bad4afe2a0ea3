"""No penalty: h = 0."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.penalties import Penalty


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """h(w) = 0; the optimum need not be unique."""

    name = "none"
    smooth = True
