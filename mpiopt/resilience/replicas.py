"""One rank's part of a state as bytes in the order of the sequence, and a state filled from the parts of all ranks.

On the same number of ranks everything comes back bit by bit; on another, sharded fields are cut anew and per-rank
fields stay blank, as after the load of a checkpoint. Replicated fields are no part of a piece: every rank has them.

What a rank remembers, in memory, of the run that it is in: enough to go on when others have died.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Array, Comm
from mpiopt.core.history import HistoryRow, rows_to_text
from mpiopt.core.state import Layout, Wire, layouts
from mpiopt.data.shard import Shard

HEAD = 6 * 8  # bytes before the fields


class ReplicaLabel(NamedTuple):
    """Whose piece it is: the life of the job, the round before which it was cut, the rank, and its rows."""

    life: int
    k: int
    rank: int
    size: int
    start: int
    rows: int


@dataclass(frozen=True)
class ShardPlace:
    """Where a rank's rows lie in the sequence; row j in memory is position `start + order[j]`."""

    rank: int
    size: int
    start: int
    order: NDArray[np.int64]
    inverse: NDArray[np.int64]


def shard_place(shard: Shard, comm: Comm) -> ShardPlace:
    """Give the place of a shard; it does not keep the rows alive."""
    return ShardPlace(comm.rank, comm.size, shard.start, shard.order, np.argsort(shard.order))


def cut(state: object, place: ShardPlace, life: int, k: int) -> Wire:
    """Give the sharded fields, in the order of the sequence, and the per-rank fields behind a label."""
    label = ReplicaLabel(life, k, place.rank, place.size, place.start, len(place.order))
    parts = [np.array(label, np.int64)]
    for name, layout in layouts(state).items():
        if layout is Layout.SHARDED:
            parts.append(np.take(getattr(state, name), place.inverse, axis=0))
        elif layout is Layout.PER_RANK:
            parts.append(getattr(state, name))
    return np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts])


def label_of(piece: Wire) -> ReplicaLabel:
    """Read the label of a piece."""
    return ReplicaLabel(*piece[:HEAD].view(np.int64).tolist())


def fields_of(piece: Wire, state: object) -> dict[str, Array]:
    """Give the fields of a piece, shaped as those of `state` (but for the number of rows)."""
    rows, start, found = label_of(piece).rows, HEAD, {}
    for name, layout in layouts(state).items():
        if layout is Layout.REPLICATED:
            continue
        like = getattr(state, name)
        shape = (rows, *like.shape[1:]) if layout is Layout.SHARDED else like.shape
        nbytes = like.itemsize * int(np.prod(shape, dtype=np.int64))
        found[name] = piece[start : start + nbytes].copy().view(like.dtype).reshape(shape)
        start += nbytes
    return found


def fill(state: Any, place: ShardPlace, mine: Sequence[Wire], whole: Sequence[int], comm: Comm) -> None:
    """Fill the sharded fields of `state` from the pieces that the ranks bring, maybe the per-rank ones; collective.

    Per-rank fields are filled where all pieces are there, `whole` being 0 … size-1 of as many ranks as there are now.
    Rows that no piece has stay as they are.
    """
    turns = int(comm.max(np.array([len(mine)]))[0])
    private = list(whole) == list(range(comm.size))
    for turn in range(turns):
        piece = mine[turn] if turn < len(mine) else None
        label = label_of(piece) if piece is not None else ReplicaLabel(0, 0, -1, 0, 0, 0)
        fields = fields_of(piece, state) if piece is not None else {}
        for name, layout in layouts(state).items():
            field = getattr(state, name)
            if layout is Layout.SHARDED:
                _cut_anew(field, place, fields.get(name, field[:0]), label.start, comm)
            elif layout is Layout.PER_RANK and private:
                _hand_over(field, fields.get(name), label.rank, comm)


def _cut_anew(field: Array, place: ShardPlace, rows: Array, start: int, comm: Comm) -> None:
    """Send rows at positions `start …` to their owners, and take those of this rank."""
    bounds = np.concatenate(comm.allgather(np.array([place.start])))[1:]
    cuts = np.clip(bounds - start, 0, len(rows))
    first = np.concatenate([[0], cuts]) + start
    starts = comm.alltoall([np.array([position]) for position in first])
    for position, part in zip(starts, comm.alltoall(np.split(rows, cuts)), strict=True):
        begin = int(position[0]) - place.start
        if len(part):
            field[place.inverse[begin : begin + len(part)]] = part


def _hand_over(field: Array, found: Array | None, to: int, comm: Comm) -> None:
    """Give a rank its own per-rank field back, wherever it was kept."""
    flat = np.empty(0, field.dtype) if found is None else found.reshape(-1)
    for part in comm.alltoall([flat if r == to else flat[:0] for r in range(comm.size)]):
        if len(part):
            field[...] = part.reshape(field.shape)


Meta = dict[str, str | int | float]


@dataclass(frozen=True)
class Snapshot:
    """A run before round k: the replicated fields, and what the record needs; pieces of any ranks beside it."""

    life: int
    k: int
    epochs: float
    rows: list[HistoryRow]  # of the run so far; the first `count` are of this moment
    count: int
    fields: dict[str, Array]
    pieces: list[Wire] = field(default_factory=list)
    events: str = "[]"  # of the run so far

    @property
    def age(self) -> tuple[int, int]:
        """Order moments: by the life of the job, then by the round."""
        return self.life, self.k


@dataclass
class ReplicaStore:
    """The moments kept, the newest last; and the state that is being worked on, as a last resort."""

    life: int = 0
    moments: list[Snapshot] = field(default_factory=list)
    live: tuple[Any, ShardPlace, int] | None = None  # the state, its place, the life
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

    def moment(self, k: int, epochs: float, rows: list[HistoryRow], state: object, events: str = "[]") -> Snapshot:
        """Copy the replicated fields of a state."""
        fields = {n: getattr(state, n).copy() for n, how in layouts(state).items() if how is Layout.REPLICATED}
        return Snapshot(self.life, k, epochs, rows, len(rows), fields, events=events)

    def keep(self, moment: Snapshot) -> None:
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


class RestorePlan(NamedTuple):
    """From which moment to go on, which rank knows it, and who brings which piece."""

    life: int
    k: int
    source: int
    bring: dict[int, list[ReplicaLabel]]  # by rank
    whole: list[int]  # the ranks, of those days, whose pieces are there


class Inventory(NamedTuple):
    """What one rank has: the ages of its moments, and the labels of its pieces."""

    moments: list[tuple[int, int]]
    labels: list[ReplicaLabel]


def choose_copies(told: Sequence[Inventory]) -> RestorePlan | None:
    """Give the newest moment of which the pieces of all ranks are there."""
    for life, k in sorted({age for one in told for age in one.moments}, reverse=True):
        keepers = _keepers(told, ((life, k),))
        sizes = {label.size for label in keepers}
        if sizes and len(keepers) == sizes.pop():
            return _choice(told, life, k, keepers)
    return None


def choose_newest(told: Sequence[Inventory]) -> RestorePlan | None:
    """Give the newest moment, with the pieces of those who are alive, as they are."""
    ages = {age for one in told for age in one.moments}
    if not ages:
        return None
    life, k = max(ages)
    return _choice(told, life, k, _keepers(told, ((life, -1),)))._replace(whole=[])


def _keepers(told: Sequence[Inventory], ages: Iterable[tuple[int, int]]) -> dict[ReplicaLabel, int]:
    """Give the pieces of these ages, each with the first rank that has it."""
    found: dict[tuple[int, int], tuple[ReplicaLabel, int]] = {}
    for rank, one in enumerate(told):
        for label in one.labels:
            if (label.life, label.k) in ages:
                found.setdefault((label.rank, label.size), (label, rank))
    return dict(found.values())


def _choice(told: Sequence[Inventory], life: int, k: int, keepers: dict[ReplicaLabel, int]) -> RestorePlan:
    source = next(rank for rank, one in enumerate(told) if (life, k) in one.moments)
    bring = {rank: [label for label, keeper in keepers.items() if keeper == rank] for rank in range(len(told))}
    return RestorePlan(life, k, source, bring, sorted(label.rank for label in keepers))


def take_inventory(vault: ReplicaStore, pieces: Sequence[Wire], comm: Comm) -> list[Inventory]:
    """Let all ranks know what all ranks have; collective."""
    mine = json.dumps([[moment.age for moment in vault.moments], [label_of(piece) for piece in pieces]])
    every = [json.loads(part.tobytes()) for part in comm.allgather(np.frombuffer(mine.encode(), np.uint8).copy())]
    return [
        Inventory([(life, k) for life, k in ages], [ReplicaLabel(*label) for label in labels])
        for ages, labels in every
    ]


def refill(
    state: object, place: ShardPlace, vault: ReplicaStore, choice: RestorePlan, pieces: Sequence[Wire], comm: Comm
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
