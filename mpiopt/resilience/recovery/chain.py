"""Replication in memory on the next rank: diskless checkpointing along a ring.

J. S. Plank, K. Li, M. A. Puening, "Diskless checkpointing", IEEE Trans. Parallel Distrib. Syst. 9 (1998); of chain
replication (R. van Renesse, F. B. Schneider, OSDI 2004) it has that the next in line takes over what was lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.compress.channel import Channel
from mpiopt.resilience.recovery.base import Recovery
from mpiopt.resilience.replicas import (
    Inventory,
    ReplicaStore,
    RestorePlan,
    Snapshot,
    choose_copies,
    choose_newest,
    cut,
)

SHARE = 0.02  # of the time that copies may take, where R is chosen


@dataclass(frozen=True)
class Chain(Recovery):
    """Every R rounds each rank keeps its state in memory, and so does the next rank: all go back to the last copies.

    A loss costs R/2 rounds on average. Any set of ranks may be lost of which no two are neighbours in the ring; where
    neighbours are lost at once, the run goes on as `stateless` does, from the replicated fields of that copy.
    """

    name: ClassVar[str] = "chain"
    exact: ClassVar[bool] = True
    in_memory: ClassVar[bool] = True
    every: int = 0  # R, rounds; 0: so that the copies take about 2 % of the time

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every < 0:
            raise ValueError(f"chain: every must be at least 0, not {self.every}")

    def due(self, vault: ReplicaStore, k: int) -> bool:
        """Say whether R rounds have passed."""
        return k >= vault.again

    def protect(self, vault: ReplicaStore, moment: Snapshot, channel: Channel) -> None:
        """Copy this rank's piece, and take that of the rank before."""
        if vault.live is None:
            raise RuntimeError("nothing is under way that could be copied")
        began, exchanging = time.perf_counter(), channel.traffic.seconds_communicate
        state, place, life = vault.live
        piece = cut(state, place, life, moment.k)
        cutting = time.perf_counter() - began
        moment.pieces.extend([piece, channel.shift(piece)])
        vault.keep(moment)
        # All ranks have their copies when this returns: the older ones can go.
        took = cutting + channel.traffic.seconds_communicate - exchanging
        rounds = self._pause(vault, moment.k, began, took, channel)
        vault.forget_older()
        vault.again = moment.k + rounds

    def _pause(self, vault: ReplicaStore, k: int, began: float, took: float, channel: Channel) -> int:
        """Give R, at most twice the last one: a single slow copy says little; collective."""
        last, rounds = vault.copied or began, max(1, k - vault.copied_round)
        copying, a_round = channel.comm.max(np.array([took, (began - last) / rounds])).tolist()
        if self.every:
            return self.every
        wanted = math.ceil(copying / (SHARE * a_round)) if a_round > 0 else 1
        return max(1, min(2 * rounds, wanted))

    def choose(self, told: Sequence[Inventory]) -> RestorePlan | None:
        """Go back to the newest copies of all ranks; where neighbours were lost, to what there is."""
        return choose_copies(told) or choose_newest(told)
