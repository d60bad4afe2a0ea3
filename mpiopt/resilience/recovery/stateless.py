"""No rank rolls back: what a lost rank knew is computed again from its rows.

The relaxed consistency of the stateless server in "Exploring the impact of failures in distributed training" (paper 3
of papers.md), for ranks without a server: tables of gradients are a function of the model, which all ranks have.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.compress.channel import Channel
from mpiopt.resilience.recovery.base import COPY_SHARE, Recovery
from mpiopt.resilience.replicas import Inventory, ReplicaStore, RestorePlan, Snapshot, plan_newest


@dataclass(frozen=True)
class StatelessRecovery(Recovery):
    """The survivors go on from their own state after the last round; lost rows are read again and visited once.

    A loss costs the round that was broken off, and a pass over the lost rows. For a moment the tables are of
    different rounds; the point to which the run converges does not depend on them. Without failures it costs a copy
    of the replicated fields, and no exchange.
    """

    name: ClassVar[str] = "stateless"
    exact: ClassVar[bool] = False
    in_memory: ClassVar[bool] = True

    def due(self, store: ReplicaStore, k: int) -> bool:
        """Return whether a copy now takes less than its share of the time; the ranks need not agree."""
        return time.perf_counter() - store.copied_at >= store.copy_seconds / COPY_SHARE

    def protect(self, store: ReplicaStore, snapshot: Snapshot, channel: Channel) -> None:
        """Keep the snapshot, and drop the older ones."""
        store.keep(snapshot)
        store.drop_older()

    def choose(self, inventories: Sequence[Inventory]) -> RestorePlan | None:
        """Go on from the last round that any rank has finished."""
        return plan_newest(inventories)
