"""What the registry writes down: updates, weights to be judged later, deaths, the counters of every life."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, NamedTuple

import numpy as np

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Counts
from mpiopt.studies.parameter_server.runtime.view import Role


class Update(NamedTuple):
    """An update of the weights."""

    seconds: float
    version: int  # after it
    gradients: int
    step: float  # s of w − s Σ g


class ServerEvent(NamedTuple):
    """A death or a start."""

    seconds: float
    what: str  # killed, lost (noticed), started
    rank: int
    role: Role
    first: bool  # of those with its role: of servers the one that serves


class Judged(NamedTuple):
    """Weights and how good they are."""

    seconds: float
    version: int
    accuracy: float


@dataclass(eq=False)
class ServerLog:
    """Everything of one run. Weights lie in a file without a name until they are judged."""

    updates: list[Update] = field(default_factory=list)
    events: list[ServerEvent] = field(default_factory=list)
    lives: dict[tuple[int, int], Counts] = field(default_factory=dict)  # by (rank, life): as last told
    roles: dict[tuple[int, int], Role] = field(default_factory=dict)  # the last role in that life but spare
    shown: list[tuple[float, int, np.dtype[np.floating]]] = field(default_factory=list)
    _weights: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __post_init__(self) -> None:
        weakref.finalize(self, self._weights.close)

    def show(self, seconds: float, version: int, w: Array) -> None:
        """Keep weights."""
        self.shown.append((seconds, version, w.dtype))
        self._weights.write(w.tobytes())

    def judged(self, accuracy: Callable[[Array], float]) -> list[Judged]:
        """Judge all that was kept, in its order, and forget it."""
        found = [
            Judged(seconds, version, accuracy(w))
            for (seconds, version, _), w in zip(self.shown, self._kept(), strict=True)
        ]
        self._weights.close()
        return found

    def _kept(self) -> Iterator[Array]:
        size = self._weights.tell() // max(1, len(self.shown))
        self._weights.seek(0)
        for _, _, kind in self.shown:
            yield np.frombuffer(self._weights.read(size), kind)
