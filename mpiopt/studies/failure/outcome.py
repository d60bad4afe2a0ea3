"""The outcome of a cell, the figures derived from it, and its tables in the study's HDF5 file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from mpiopt.studies.failure.job import FailureCell
from mpiopt.studies.parameter_server.runtime.actor import Counts
from mpiopt.studies.parameter_server.runtime.log import Accuracy, ServerEvent, ServerLog, Update
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.storage import StoredCell

VIRTUAL = "virtual"
# Types of the columns in the HDF5 file; the names of its tables and columns never change.
DTYPES = {float: "f8", int: "i8", str: "S8", Role: "S8", bool: "?"}


class RankLifetime(NamedTuple):
    """A rank from one start to its death or to the end of the run."""

    rank: int
    life: int  # 0 for the first, one more after each death
    role: Role
    counts: Counts


@dataclass(frozen=True)
class FailureOutcome:
    """A run; the names of the fields are keys of OUT.json."""

    cell: FailureCell
    death: str  # how ranks die: virtual, sigkill or silent
    ranks: int  # servers, stores and workers at the start
    size: int  # number of parameters
    updates: list[Update]
    judged: list[Accuracy]
    events: list[ServerEvent]
    lives: list[RankLifetime]

    @property
    def text(self) -> str:
        """The cell and how it ended."""
        return (
            f"{self.cell.text}: {self.final:.3f}, {len(self.updates)} updates, {len(self.kills)} kills ({self.death})"
        )

    def as_plain(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        lives = [[*lifetime[:3], dataclasses.astuple(lifetime.counts)] for lifetime in self.lives]
        return {**vars(self), "lives": lives}

    def total(self, name: str) -> float:
        """Return the sum of a counter over all ranks, with all their restarts."""
        return float(sum(getattr(lifetime.counts, name) for lifetime in self.lives))

    def most(self, name: str) -> float:
        """Return the largest value of a counter."""
        return float(max((getattr(lifetime.counts, name) for lifetime in self.lives), default=0))

    @property
    def held(self) -> int:
        """Bytes of weights and gradients: the most that each rank kept at once, summed over ranks."""
        most: dict[int, int] = {}
        for lifetime in self.lives:
            most[lifetime.rank] = max(most.get(lifetime.rank, 0), lifetime.counts.held)
        return sum(most.values())

    def idle(self, role: Role) -> float:
        """Return the seconds that all ranks with a role waited."""
        return float(sum(lifetime.counts.idle for lifetime in self.lives if lifetime.role is role))

    def time_to(self, accuracy: float) -> float | None:
        """Return the first time at which the accuracy was reached."""
        return next((j.seconds for j in self.judged if j.accuracy >= accuracy), None)

    @property
    def final(self) -> float:
        """Mean of the last five accuracies, as in the paper's figures."""
        last = [j.accuracy for j in self.judged[-5:]]
        return sum(last) / len(last) if last else float("nan")

    @property
    def kills(self) -> list[Kill]:
        """The deaths of serving servers, in order."""
        lost = [e for e in self.events if e.what == "lost" and e.role is Role.SERVER and e.first]
        kills = [self._kill(e) for e in lost]
        return [kill for kill in kills if kill is not None]

    def _kill(self, lost: ServerEvent) -> Kill | None:
        """Compare the last update before a death was noticed with the first update after."""
        killed = [e for e in self.events if e.what == "killed" and e.rank == lost.rank and e.seconds <= lost.seconds]
        when = killed[-1].seconds if killed else lost.seconds
        before = [u for u in self.updates if u.seconds <= lost.seconds]
        after = [u for u in self.updates if u.seconds > lost.seconds]
        if not before or not after:
            return None
        until = [j for j in self.judged if j.seconds <= before[-1].seconds]
        then = [j for j in self.judged if j.seconds >= after[0].seconds]
        accuracies = until[-1].accuracy if until else 0.0, then[0].accuracy if then else 0.0
        downtime = after[0].seconds - before[-1].seconds
        return Kill(when, downtime, before[-1].version - after[0].version + 1, after[0].gradients, *accuracies)


class Kill(NamedTuple):
    """The death of the serving server."""

    seconds: float
    downtime: float  # from the last update before to the first after
    undone: int  # updates lost by the death
    backlog: int  # gradients in the first update after
    before: float  # accuracy
    after: float  # accuracy


def outcome(cell: FailureCell, log: ServerLog, task: ServerTask, test: Any, death: str, ranks: int) -> FailureOutcome:
    """Evaluate the weights of a run."""
    judged = log.accuracies(lambda w: task.accuracy(w, test))
    lives = [RankLifetime(*key, log.roles.get(key, Role.SPARE), counts) for key, counts in sorted(log.counts.items())]
    size = task.network.size(task.shape)
    return FailureOutcome(cell, death, ranks, size, log.updates, judged, log.events, lives)


def from_plain(tree: dict[str, Any]) -> FailureOutcome:
    """Return the outcome whose plain values are given."""
    return FailureOutcome(
        **{
            **tree,
            "cell": FailureCell(*tree["cell"]),
            "updates": [Update(*u) for u in tree["updates"]],
            "judged": [Accuracy(*j) for j in tree["judged"]],
            "events": [ServerEvent(s, what, rank, Role(role), one) for s, what, rank, role, one in tree["events"]],
            "lives": [RankLifetime(rank, life, Role(role), Counts(*c)) for rank, life, role, c in tree["lives"]],
        }
    )


def stored_outcome(o: FailureOutcome) -> StoredCell:
    """Return the attributes and tables of a run."""
    events = [event._replace(role=event.role.name.lower()) for event in o.events]  # type: ignore[arg-type]
    lives = [(*one[:2], one.role.name.lower(), *dataclasses.astuple(one.counts)) for one in o.lives]
    tables = {
        "updates": table(o.updates, get_type_hints(Update)),
        "accuracy": table(o.judged, get_type_hints(Accuracy)),
        "kills": table(o.kills, get_type_hints(Kill)),
        "events": table(events, get_type_hints(ServerEvent)),
        "lives": table(lives, {"rank": int, "life": int, "role": str, **get_type_hints(Counts)}),
    }
    return StoredCell({**o.cell._asdict(), "death": o.death, "ranks": o.ranks, "size": o.size}, tables)


def table(rows: Iterable[Any], columns: Mapping[str, type]) -> NDArray[np.void]:
    """Return rows as a structured array; `columns` are names and types."""
    return np.array([tuple(row) for row in rows], [(name, DTYPES[kind]) for name, kind in columns.items()])
