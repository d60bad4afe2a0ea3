"""What came out of a cell, and what is read from it; pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpiopt.studies.failure.job import FailureCell
from mpiopt.studies.parameter_server.runtime.actor import Counts
from mpiopt.studies.parameter_server.runtime.record import Judged, ServerEvent, ServerLog, Update
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role

VIRTUAL = "virtual"


class RankLifetime(NamedTuple):
    """A rank in one of its lives."""

    rank: int
    life: int
    role: Role
    counts: Counts


@dataclass(frozen=True)
class FailureOutcome:
    """A run."""

    cell: FailureCell
    death: str  # virtual, sigkill or silent
    ranks: int  # with a role at the start, without the registry and spares
    size: int  # of the model, in numbers
    updates: list[Update]
    judged: list[Judged]
    events: list[ServerEvent]
    lives: list[RankLifetime]

    def total(self, name: str) -> float:
        """Add up a counter of all lives."""
        return float(sum(getattr(life.counts, name) for life in self.lives))

    def most(self, name: str) -> float:
        """Give the largest of a counter."""
        return float(max((getattr(life.counts, name) for life in self.lives), default=0))

    @property
    def held(self) -> int:
        """Bytes of weights and gradients: the most that each rank kept at once, over all ranks."""
        most: dict[int, int] = {}
        for life in self.lives:
            most[life.rank] = max(most.get(life.rank, 0), life.counts.held)
        return sum(most.values())

    def idle(self, role: Role) -> float:
        """Give the seconds of waiting of all ranks with a role."""
        return float(sum(life.counts.idle for life in self.lives if life.role is role))

    def time_to(self, accuracy: float) -> float | None:
        """Give the first time at which the accuracy was reached."""
        return next((j.seconds for j in self.judged if j.accuracy >= accuracy), None)

    @property
    def final(self) -> float:
        """The mean of the last five accuracies, as in the paper's figures."""
        last = [j.accuracy for j in self.judged[-5:]]
        return sum(last) / len(last) if last else float("nan")

    @property
    def kills(self) -> list[Kill]:
        """The deaths of serving servers."""
        lost = [e for e in self.events if e.what == "lost" and e.role is Role.SERVER and e.first]
        found = [self._kill(e) for e in lost]
        return [kill for kill in found if kill is not None]

    def _kill(self, lost: ServerEvent) -> Kill | None:
        """Look at the last update before a death was noticed, and at the first after."""
        killed = [e for e in self.events if e.what == "killed" and e.rank == lost.rank and e.seconds <= lost.seconds]
        when = killed[-1].seconds if killed else lost.seconds
        before = [u for u in self.updates if u.seconds <= lost.seconds]
        after = [u for u in self.updates if u.seconds > lost.seconds]
        if not before or not after:
            return None
        seen = [j for j in self.judged if j.seconds <= before[-1].seconds]
        then = [j for j in self.judged if j.seconds >= after[0].seconds]
        accuracies = seen[-1].accuracy if seen else 0.0, then[0].accuracy if then else 0.0
        downtime = after[0].seconds - before[-1].seconds
        return Kill(when, downtime, before[-1].version - after[0].version + 1, after[0].gradients, *accuracies)


class Kill(NamedTuple):
    """The death of the serving server."""

    seconds: float
    downtime: float  # from the last update before to the first after
    undone: int  # updates that were lost
    backlog: int  # gradients in the first update after
    before: float  # accuracies
    after: float


def outcome(
    cell: FailureCell, record: ServerLog, task: ServerTask, test: Any, death: str, ranks: int
) -> FailureOutcome:
    """Judge the weights of a run."""
    judged = record.judged(lambda w: task.accuracy(w, test))
    lives = [
        RankLifetime(*key, record.roles.get(key, Role.SPARE), counts) for key, counts in sorted(record.lives.items())
    ]
    size = task.network.size(task.shape)
    return FailureOutcome(cell, death, ranks, size, record.updates, judged, record.events, lives)


def as_json(o: FailureOutcome) -> dict[str, Any]:
    """Give an outcome as plain values."""
    lives = [[*life[:3], dataclasses.astuple(life.counts)] for life in o.lives]
    return {**vars(o), "lives": lives}


def from_json(tree: dict[str, Any]) -> FailureOutcome:
    """Give the outcome back."""
    return FailureOutcome(
        **{
            **tree,
            "cell": FailureCell(*tree["cell"]),
            "updates": [Update(*u) for u in tree["updates"]],
            "judged": [Judged(*j) for j in tree["judged"]],
            "events": [ServerEvent(s, what, rank, Role(role), one) for s, what, rank, role, one in tree["events"]],
            "lives": [RankLifetime(rank, life, Role(role), Counts(*c)) for rank, life, role, c in tree["lives"]],
        }
    )
