"""The recovery strategies: roll back along a ring of copies, go on without rollback, or restart from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.compress.channel import Channel
from mpiopt.resilience.recovery.base import COPY_SHARE, Recovery
from mpiopt.resilience.replicas import (
    Inventory,
    ReplicaStore,
    RestorePlan,
    Snapshot,
    pack_replica,
    plan_newest,
    plan_rollback,
)


@dataclass(frozen=True)
class Chain(Recovery):
    """Every R rounds each rank copies its state to itself and to the next rank; after a loss all ranks roll back.

    A loss costs R/2 rounds on average. Any set of ranks may be lost of which no two are neighbours in the ring. If
    neighbours are lost at once, the run goes on as with `stateless`, from the replicated fields of the last copy.

    References: J. S. Plank, K. Li, M. A. Puening, "Diskless checkpointing", IEEE Trans. Parallel Distrib. Syst. 9
    (1998). From chain replication (R. van Renesse, F. B. Schneider, OSDI 2004) comes the rule that the next rank in
    line takes over.
    """

    name: ClassVar[str] = "chain"
    exact: ClassVar[bool] = True
    in_memory: ClassVar[bool] = True
    every: int = 0  # R, rounds; 0: chosen such that the copies take about 2 % of the time

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every < 0:
            raise ValueError(f"chain: every must be at least 0, not {self.every}")

    def due(self, store: ReplicaStore, k: int) -> bool:
        """Return whether R rounds have passed."""
        return k >= store.next_copy

    def protect(self, store: ReplicaStore, snapshot: Snapshot, channel: Channel) -> None:
        """Copy this rank's state, and exchange copies along the ring."""
        if store.live is None:
            raise RuntimeError("the run has no state yet that could be copied")
        began, exchanging = time.perf_counter(), channel.traffic.seconds_communicate
        replica = pack_replica(store.live.state, store.live.place, snapshot.attempt, snapshot.k)
        packing = time.perf_counter() - began
        snapshot.replicas.extend([replica, channel.shift(replica)])
        store.keep(snapshot)
        took = packing + channel.traffic.seconds_communicate - exchanging
        rounds = self._interval(store, snapshot.k, began, took, channel)
        # `_interval` is collective: all ranks have their new copies, so the older ones may go.
        store.drop_older()
        store.next_copy = snapshot.k + rounds

    def _interval(self, store: ReplicaStore, k: int, began: float, took: float, channel: Channel) -> int:
        """Return R; it at most doubles from copy to copy, since a single slow copy says little. Collective."""
        last, rounds = store.copied_at or began, max(1, k - store.copied_round)
        copy_seconds, round_seconds = channel.comm.max(np.array([took, (began - last) / rounds])).tolist()
        if self.every:
            return self.every
        enough = math.ceil(copy_seconds / (COPY_SHARE * round_seconds)) if round_seconds > 0 else 1
        return max(1, min(2 * rounds, enough))

    def choose(self, inventories: Sequence[Inventory]) -> RestorePlan | None:
        """Roll back to the newest copies of all ranks; if neighbours were lost, go on with what is left."""
        return plan_rollback(inventories) or plan_newest(inventories)


@dataclass(frozen=True)
class StatelessRecovery(Recovery):
    """The survivors go on from their own state after the last round; lost rows are read again and visited once.

    A loss costs the round that was broken off, and a pass over the lost rows. For a moment the tables are of
    different rounds; the point to which the run converges does not depend on them. Without failures it costs a copy
    of the replicated fields, and no exchange.

    Reference: the relaxed consistency of the stateless server in "Exploring the impact of failures in distributed
    training" (paper 3 of papers.md), for ranks without a server: tables of gradients are a function of the model,
    which all ranks have.
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


@dataclass(frozen=True)
class Checkpoint(Recovery):
    """All ranks go back to the newest checkpoint of this run, or to its start (`--checkpoint-every` sets how far).

    A loss costs half an interval between checkpoints on average, and the load.

    Reference: E. N. Elnozahy, L. Alvisi, Y.-M. Wang, D. B. Johnson, "A survey of rollback-recovery protocols in
    message-passing systems", ACM Computing Surveys 34 (2002), section 2.4: coordinated checkpointing.
    """

    name: ClassVar[str] = "checkpoint"
    exact: ClassVar[bool] = True
    in_memory: ClassVar[bool] = False

    def protect(self, store: ReplicaStore, snapshot: Snapshot, channel: Channel) -> None:
        """Copy nothing: the run saves checkpoints anyway."""


@dataclass(frozen=True)
class NoRecovery(Checkpoint):
    """A lost rank ends the job with exit code 76; `mpiopt launch` starts it again from the last checkpoint."""

    name: ClassVar[str] = "none"
    exact: ClassVar[bool] = False
    continues: ClassVar[bool] = False
