"""What a run expects of a store of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mpiopt.data.shard import Shard

Meta = dict[str, str | int | float]  # what is saved beside the state: the job, the history, the events, the seconds


@dataclass(frozen=True)
class LoadedState:
    """What a load returns besides the state that it has filled."""

    k: int  # the next round
    meta: Meta


class CheckpointStore(Protocol):
    """A place where checkpoints go and come from; `mpiopt.resilience.checkpoint.store.Checkpoints` is one."""

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Save the state before round k; collective."""

    def load(self, blank_state: object, shard: Shard, job: str) -> LoadedState | None:
        """Fill the state from the newest checkpoint that is whole; collective. None if there is no checkpoint."""
