"""The log of the registry: updates, snapshots of the weights, deaths, and the counters of every rank."""

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
    """An update of the weights; the names are columns of OUT.h5."""

    seconds: float
    version: int  # after the update
    gradients: int
    step: float  # s of w − s Σ g


class ServerEvent(NamedTuple):
    """A death or a start; the names are columns of OUT.h5."""

    seconds: float
    what: str  # killed, lost (noticed), started
    rank: int
    role: Role
    first: bool  # whether it was the first rank with its role: the server that serves


class Accuracy(NamedTuple):
    """The accuracy of a snapshot; the names are columns of OUT.h5."""

    seconds: float
    version: int
    accuracy: float


class WeightsSnapshot(NamedTuple):
    """Weights in the temporary file."""

    seconds: float
    version: int
    dtype: np.dtype[np.floating]


@dataclass(eq=False)
class ServerLog:
    """The log of one run. Snapshots are kept in a temporary file until their accuracy is computed."""

    updates: list[Update] = field(default_factory=list)
    events: list[ServerEvent] = field(default_factory=list)
    counts: dict[tuple[int, int], Counts] = field(default_factory=dict)  # last ones of (rank, incarnation)
    roles: dict[tuple[int, int], Role] = field(default_factory=dict)  # last role other than spare
    snapshots: list[WeightsSnapshot] = field(default_factory=list)
    _weights: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __post_init__(self) -> None:
        weakref.finalize(self, self._weights.close)

    def add_snapshot(self, seconds: float, version: int, w: Array) -> None:
        """Keep the weights of this version."""
        self.snapshots.append(WeightsSnapshot(seconds, version, w.dtype))
        self._weights.write(w.tobytes())

    def accuracies(self, accuracy: Callable[[Array], float]) -> list[Accuracy]:
        """Compute the accuracy of all snapshots, in their order, and delete them."""
        judged = [
            Accuracy(snapshot.seconds, snapshot.version, accuracy(w))
            for snapshot, w in zip(self.snapshots, self._vectors(), strict=True)
        ]
        self._weights.close()
        return judged

    def _vectors(self) -> Iterator[Array]:
        size = self._weights.tell() // max(1, len(self.snapshots))
        self._weights.seek(0)
        for snapshot in self.snapshots:
            yield np.frombuffer(self._weights.read(size), snapshot.dtype)
