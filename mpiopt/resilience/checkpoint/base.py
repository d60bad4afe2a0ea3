"""What a run expects of a store of checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mpiopt.data.shard import Shard

Meta = dict[str, str | int | float]  # what is saved beside the state: the job, the history, the events, the seconds


FIELDS = "fields"  # meta value that `BlankState` gets in addition: the names of the saved fields of the state
BlankState = Callable[[Meta], object]  # makes the state of shapes and types as they were when it was saved


@dataclass(frozen=True)
class LoadedState:
    """A state that was saved, and what was saved beside it."""

    k: int  # the next round
    meta: Meta
    state: object


class CheckpointStore(Protocol):
    """A place where checkpoints go and come from; `mpiopt.resilience.checkpoint.store.Checkpoints` is one."""

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Save the state before round k; collective."""

    def load(self, blank: BlankState, shard: Shard, job: str) -> LoadedState | None:
        """Load the state of the newest checkpoint that is whole; collective. None if there is no checkpoint."""

    def check(self) -> None:
        """Raise OSError on all ranks if another run has taken over the place; collective."""
