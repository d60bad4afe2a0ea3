"""What a rank remembers, in memory, of the run that it is in: enough to go on when others have died."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mpiopt.comm import Array, Comm
from mpiopt.pieces import Label, Place, cut, fill, label_of
from mpiopt.recorder import Row, rows_to_text
from mpiopt.state import Layout, Wire, layouts

Meta = dict[str, str | int | float]


@dataclass(frozen=True)
class Moment:
    """A run before round k: the replicated fields, and what the record needs; pieces of any ranks beside it."""

    life: int
    k: int
    epochs: float
    rows: list[Row]  # of the run so far; the first `count` are of this moment
    count: int
    fields: dict[str, Array]
    pieces: list[Wire] = field(default_factory=list)
    events: str = "[]"  # of the run so far

    @property
    def age(self) -> tuple[int, int]:
        """Order moments: by the life of the job, then by the round."""
        return self.life, self.k


@dataclass
class Vault:
    """The moments kept, the newest last; and the state that is being worked on, as a last resort."""

    life: int = 0
    moments: list[Moment] = field(default_factory=list)
    live: tuple[Any, Place, int] | None = None  # the state, its place, the life
    seconds: float = 0.0  # spent so far
    again: int = 0  # the round from which the next copy is due
    copied: float = 0.0  # when the last copy was made
    copied_round: int = 0
    took: float = 0.0  # its seconds

    def begin(self) -> None:
        """Begin a life of the job."""
        self.life += 1
        self.again, self.copied, self.copied_round, self.took = 0, 0.0, 0, 0.0

    def distrust(self) -> None:
        """Forget everything: replicated fields had parted."""
        self.moments, self.live = [], None

    @contextmanager
    def copying(self, k: int) -> Iterator[None]:
        """Measure the copy that is made in the block, before round k."""
        began = time.perf_counter()
        yield
        self.copied, self.copied_round = time.perf_counter(), k
        self.took = self.copied - began

    def moment(self, k: int, epochs: float, rows: list[Row], state: object, events: str = "[]") -> Moment:
        """Copy the replicated fields of a state."""
        fields = {n: getattr(state, n).copy() for n, how in layouts(state).items() if how is Layout.REPLICATED}
        return Moment(self.life, k, epochs, rows, len(rows), fields, events=events)

    def keep(self, moment: Moment) -> None:
        """Add a moment."""
        self.moments.append(moment)

    def forget_older(self) -> None:
        """Drop all moments but the newest."""
        del self.moments[:-1]

    def pieces(self) -> list[Wire]:
        """Give all pieces kept, and one of the live state as it is."""
        kept = [piece for moment in self.moments for piece in moment.pieces]
        if self.live is None:
            return kept
        state, place, life = self.live
        return [*kept, cut(state, place, life, -1)]


class Choice(NamedTuple):
    """From which moment to go on, which rank knows it, and who brings which piece."""

    life: int
    k: int
    source: int
    bring: dict[int, list[Label]]  # by rank
    whole: list[int]  # the ranks, of those days, whose pieces are there


class Told(NamedTuple):
    """What one rank has: the ages of its moments, and the labels of its pieces."""

    moments: list[tuple[int, int]]
    labels: list[Label]


def choose_copies(told: Sequence[Told]) -> Choice | None:
    """Give the newest moment of which the pieces of all ranks are there."""
    for life, k in sorted({age for one in told for age in one.moments}, reverse=True):
        keepers = _keepers(told, ((life, k),))
        sizes = {label.size for label in keepers}
        if sizes and len(keepers) == sizes.pop():
            return _choice(told, life, k, keepers)
    return None


def choose_newest(told: Sequence[Told]) -> Choice | None:
    """Give the newest moment, with the pieces of those who are alive, as they are."""
    ages = {age for one in told for age in one.moments}
    if not ages:
        return None
    life, k = max(ages)
    return _choice(told, life, k, _keepers(told, ((life, -1),)))._replace(whole=[])


def _keepers(told: Sequence[Told], ages: Iterable[tuple[int, int]]) -> dict[Label, int]:
    """Give the pieces of these ages, each with the first rank that has it."""
    found: dict[tuple[int, int], tuple[Label, int]] = {}
    for rank, one in enumerate(told):
        for label in one.labels:
            if (label.life, label.k) in ages:
                found.setdefault((label.rank, label.size), (label, rank))
    return dict(found.values())


def _choice(told: Sequence[Told], life: int, k: int, keepers: dict[Label, int]) -> Choice:
    source = next(rank for rank, one in enumerate(told) if (life, k) in one.moments)
    bring = {rank: [label for label, keeper in keepers.items() if keeper == rank] for rank in range(len(told))}
    return Choice(life, k, source, bring, sorted(label.rank for label in keepers))


def tell(vault: Vault, pieces: Sequence[Wire], comm: Comm) -> list[Told]:
    """Let all ranks know what all ranks have; collective."""
    mine = json.dumps([[moment.age for moment in vault.moments], [label_of(piece) for piece in pieces]])
    every = [json.loads(part.tobytes()) for part in comm.allgather(np.frombuffer(mine.encode(), np.uint8).copy())]
    return [Told([(life, k) for life, k in ages], [Label(*label) for label in labels]) for ages, labels in every]


def refill(
    state: object, place: Place, vault: Vault, choice: Choice, pieces: Sequence[Wire], comm: Comm
) -> tuple[int, Meta]:
    """Fill `state` as the choice says; give the round and what was kept beside the state; collective."""
    moment = next((m for m in vault.moments if m.age == (choice.life, choice.k)), None)
    mine = {"epochs": 0.0, "seconds": 0.0, "history": "", "events": "[]"}
    if comm.rank == choice.source and moment is not None:
        history = rows_to_text(moment.rows[: moment.count])
        mine = {"epochs": moment.epochs, "seconds": vault.seconds, "history": history, "events": moment.events}
    text = comm.broadcast(np.frombuffer(json.dumps(mine).encode(), np.uint8), choice.source)
    for name, layout in layouts(state).items():
        if layout is Layout.REPLICATED:
            field = getattr(state, name)
            field[...] = comm.broadcast(moment.fields[name] if moment else field, choice.source)
    wanted = choice.bring[comm.rank]
    fill(state, place, [p for p in pieces if label_of(p) in wanted], choice.whole, comm)
    return choice.k, json.loads(text.tobytes())
