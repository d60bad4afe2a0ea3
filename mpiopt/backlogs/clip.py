"""Clipping (Pascanu, Mikolov, Bengio, ICML 2013), of the sum: it bounds how far one step goes."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.backlogs import Backlog, positive


@dataclass(frozen=True)
class Clip(Backlog):
    """s = η · min(1, `longest`/‖Σ g_j‖)."""

    name = "clip"
    longest: float = 10.0

    def __post_init__(self) -> None:
        positive("longest", self.longest)

    def step(self, step: float, pending: int, norm: float) -> float:
        """Shorten what is too long."""
        return step * min(1.0, self.longest / max(norm, 1e-300))
