"""Strategies without copies in memory: go back to the last checkpoint, within the job or by a new start of it.

E. N. Elnozahy, L. Alvisi, Y.-M. Wang, D. B. Johnson, "A survey of rollback-recovery protocols in message-passing
systems", ACM Computing Surveys 34 (2002), section 2.4: coordinated checkpointing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.compress.channel import Channel
from mpiopt.resilience.recovery.base import Recovery
from mpiopt.resilience.replicas import ReplicaStore, Snapshot


@dataclass(frozen=True)
class Checkpoint(Recovery):
    """All ranks go back to the newest checkpoint of this run, or to its start (`--checkpoint-every` sets how far).

    A loss costs half an interval between checkpoints on average, and the load.
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
