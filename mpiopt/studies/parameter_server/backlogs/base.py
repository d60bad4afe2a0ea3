"""The family of backlog rules: how a server applies gradients that arrived while no server was running.

The step is w − s Σ_j c_j g_j over the n pending gradients, in their order of arrival. A rule determines c_j and s, so
the gradients can be summed one by one and are not stored.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass

from mpiopt.core.config.registry import Plugin


@dataclass(frozen=True)
class Backlog(Plugin, ABC):
    """A rule; by default the plain sum, c_j = 1 and s = η."""

    def weight(self, age: int, place: int, norm: float) -> float:
        """Return c_j.

        Parameters
        ----------
        age
            Updates since the weights of gradient j were read.
        place
            Number of gradients pending before it.
        norm
            ‖g_j‖₂.
        """
        return 1.0

    def step(self, step: float, pending: int, norm: float) -> float:
        """Return s.

        Parameters
        ----------
        step
            η.
        pending
            n, the number of gradients.
        norm
            ‖Σ_j c_j g_j‖₂.
        """
        return step
