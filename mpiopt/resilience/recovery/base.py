"""Recovery: what the ranks copy while all is well, and where a run goes on after ranks were lost.

A strategy works with every algorithm: it sees a state only through its layouts (`mpiopt.core.state`).
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

COPY_SHARE = 0.02  # of a run's time that copies in memory may take, where the strategy chooses how often to copy


@dataclass(frozen=True)
class Recovery(Plugin, ABC):
    """Base class of the recovery strategies, a family of plug-ins.

    Parameters
    ----------
    digest : int
        Rounds between two checks that the replicated fields are equal on all ranks, at least 0; 0 means never.

    Attributes
    ----------
    exact : bool
        Whether a run in which a spare replaces each lost rank gives the same bits as a run without failures.
    in_memory : bool
        Whether the run goes on from copies in memory; else it goes on from its newest checkpoint.
    continues : bool
        Whether the job goes on after a loss; else it ends, and can be started again from its checkpoint.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> from mpiopt.core.config.spec import parse_spec
    >>> from mpiopt.resilience.recovery.base import make_recovery
    >>> make_recovery(parse_spec("chain[every=10]"))
    Chain(digest=50, every=10)
    """

    exact: ClassVar[bool]
    in_memory: ClassVar[bool]
    continues: ClassVar[bool] = True
    digest: int = 50

    def __post_init__(self) -> None:
        if self.digest < 0:
            raise ValueError(f"{self.name}: digest must be at least 0, not {self.digest}")

    @abstractmethod
    def protect(self, store: ReplicaStore, snapshot: Snapshot, channel: Channel) -> None:
        """Copy what a loss would take; collective, called before a round where `due` says so.

        Parameters
        ----------
        store : ReplicaStore
            This rank's copies; the strategy adds to them and drops the older ones.
        snapshot : Snapshot
            Copies of the replicated fields before the round.
        channel : Channel
            The exchanges between the ranks.
        """

    def due(self, store: ReplicaStore, k: int) -> bool:
        """Return whether `protect` must be called before round k.

        All ranks must return the same, unless `protect` makes no exchange.
        """
        return False

    def choose(self, inventories: Sequence[Inventory]) -> RestorePlan | None:
        """Return from which copies the run goes on.

        Parameters
        ----------
        inventories : sequence of Inventory
            The copies of every rank that is left.

        Returns
        -------
        RestorePlan or None
            The plan, equal on all ranks; None: go on from the newest checkpoint, or from the start.
        """
        return None


def make_recovery(spec: PluginSpec) -> Recovery:
    """Return the strategy of a specification; ValueError if its name or an option is unknown."""
    return Recovery.make(spec.name, spec.fitted(Recovery.known()))
