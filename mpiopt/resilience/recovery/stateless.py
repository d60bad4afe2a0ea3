"""Nobody rolls back: what a lost rank knew is computed anew from its rows.

The relaxed consistency of the stateless server in "Exploring the impact of failures in distributed training" (paper 3
of papers.md), for ranks without a server: tables of gradients are a function of the model, which all ranks have.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.compress.channel import Channel
from mpiopt.resilience.recovery.base import Recovery
from mpiopt.resilience.replicas import Inventory, ReplicaStore, RestorePlan, Snapshot, choose_newest

SHARE = 0.02  # of the time that copies of the replicated fields may take


@dataclass(frozen=True)
class StatelessRecovery(Recovery):
    """The survivors go on from their own state after the last round; lost rows are read again and visited once.

    A loss costs the round that was broken off and a pass. For a moment the tables are of different rounds; what the
    run converges to does not depend on them. Without failures it costs a copy of the replicated fields, no exchange.
    """

    name: ClassVar[str] = "stateless"
    exact: ClassVar[bool] = False
    in_memory: ClassVar[bool] = True

    def due(self, vault: ReplicaStore, k: int) -> bool:
        """Say whether a copy now would take less than its share of the time; no exchange."""
        return time.perf_counter() - vault.copied >= vault.took / SHARE

    def protect(self, vault: ReplicaStore, moment: Snapshot, channel: Channel) -> None:
        """Keep the moment."""
        vault.keep(moment)
        vault.forget_older()

    def choose(self, told: Sequence[Inventory]) -> RestorePlan | None:
        """Go on from the last round that any rank has finished."""
        return choose_newest(told)
