"""Recovery: what is kept while all is well, and from what a run goes on when ranks were lost.

A member acts on any algorithm through its state's layouts alone (`mpiopt.core.state`, `mpiopt.resilience.replicas`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.compress.channel import Channel
from mpiopt.core.config.registry import Plugin
from mpiopt.core.config.spec import PluginSpec
from mpiopt.resilience.replicas import Inventory, ReplicaStore, RestorePlan, Snapshot


@dataclass(frozen=True)
class Recovery(Plugin, ABC):
    """A plug-in. Every `digest` rounds (0: never) the ranks compare what must be equal on all of them."""

    exact: ClassVar[bool]  # on as many ranks as before (a spare steps in) the run is bit for bit that of no failure
    in_memory: ClassVar[bool]  # goes on from the vault; else from the newest checkpoint of this run
    goes_on: ClassVar[bool] = True  # else a lost rank is the end of the job
    digest: int = 50

    def __post_init__(self) -> None:
        if self.digest < 0:
            raise ValueError(f"{self.name}: digest must be at least 0, not {self.digest}")

    @abstractmethod
    def protect(self, vault: ReplicaStore, moment: Snapshot, channel: Channel) -> None:
        """Keep what a loss would take; collective, before the first round and after each."""

    def due(self, vault: ReplicaStore, k: int) -> bool:
        """Say whether `protect` has something to do before round k; the same on all ranks, or without exchanges."""
        return False

    def choose(self, told: Sequence[Inventory]) -> RestorePlan | None:
        """Say from what to go on, knowing what all ranks have; None: from the start."""
        return None


def make_recovery(selection: PluginSpec) -> Recovery:
    """Make the recovery; ValueError where there is none of that name or with such options."""
    return Recovery.make(selection.name, selection.fitted(Recovery.known()))
