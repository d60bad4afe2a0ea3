"""Replicas in memory: each rank keeps copies of state, from which the run goes on after other ranks were lost.

A replica is one rank's part of a state as bytes: its sharded fields in the order of the file, and its per-rank
fields. Replicated fields are no part of it, since every rank has them; a snapshot keeps those. On the same number of
ranks a state comes back bit by bit. On another number, sharded fields are cut anew and per-rank fields stay blank, as
after the load of a checkpoint.
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
from mpiopt.comm.collective_io import allgather_json
from mpiopt.core.history import HistoryRow, rows_to_text
from mpiopt.core.state import Layout, Wire, layouts
from mpiopt.data.shard import Shard
from mpiopt.resilience.checkpoint.base import BlankState, LoadedState

LIVE = -1  # in place of a round: a replica of the state as it is now, between two rounds


class ReplicaLabel(NamedTuple):
    """The first numbers of a replica: when it was made, by which rank, and of which rows."""

    attempt: int  # how often the run had been started
    k: int  # the round before which it was made, or LIVE
    rank: int
    size: int
    start: int
    rows: int


HEAD = len(ReplicaLabel._fields) * 8  # bytes of the label, before the fields


class ShardPlace(NamedTuple):
    """Where a rank's rows lie in the file: row j in memory is position `start + order[j]`."""

    rank: int
    size: int
    start: int
    order: NDArray[np.int64]
    inverse: NDArray[np.int64]


def shard_place(shard: Shard, comm: Comm) -> ShardPlace:
    """Return the place of a shard, without a reference to its rows."""
    return ShardPlace(comm.rank, comm.size, shard.start, shard.order, np.argsort(shard.order))


def pack_replica(state: object, place: ShardPlace, attempt: int, k: int) -> Wire:
    """Return a replica: the label, the sharded fields in the order of the file, and the per-rank fields."""
    label = ReplicaLabel(attempt, k, place.rank, place.size, place.start, len(place.order))
    parts = [np.array(label, np.int64)]
    for name, layout in layouts(state).items():
        if layout is Layout.SHARDED:
            parts.append(np.take(getattr(state, name), place.inverse, axis=0))
        elif layout is Layout.PER_RANK:
            parts.append(getattr(state, name))
    return np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts])


def label_of(replica: Wire) -> ReplicaLabel:
    """Return the label of a replica."""
    return ReplicaLabel(*replica[:HEAD].view(np.int64).tolist())


def fields_of(replica: Wire, state: object) -> dict[str, Array]:
    """Return the fields of a replica, with the types and shapes of `state`, except for the number of rows."""
    rows, start, fields = label_of(replica).rows, HEAD, {}
    for name, layout in layouts(state).items():
        if layout is Layout.REPLICATED:
            continue
        like = getattr(state, name)
        shape = (rows, *like.shape[1:]) if layout is Layout.SHARDED else like.shape
        nbytes = like.itemsize * int(np.prod(shape, dtype=np.int64))
        fields[name] = replica[start : start + nbytes].copy().view(like.dtype).reshape(shape)
        start += nbytes
    return fields


def fill(state: Any, place: ShardPlace, replicas: Sequence[Wire], saved_ranks: Sequence[int], comm: Comm) -> None:
    """Fill the sharded and per-rank fields of a state from the replicas of all ranks; collective.

    Parameters
    ----------
    state : object
        The state to fill, in place. Rows that are in no replica stay as they are.
    place : ShardPlace
        Place of this rank's rows.
    replicas : sequence of Wire
        The replicas that this rank contributes.
    saved_ranks : sequence of int
        The ranks, numbered as when the replicas were made, whose replica is available. Per-rank fields are filled
        only if these are 0 … size-1 of the present number of ranks.
    comm : Comm
        The ranks.
    """
    turns = int(comm.max(np.array([len(replicas)]))[0])
    same_ranks = list(saved_ranks) == list(range(comm.size))
    for turn in range(turns):
        replica = replicas[turn] if turn < len(replicas) else None
        label = label_of(replica) if replica is not None else ReplicaLabel(0, 0, -1, 0, 0, 0)
        fields = fields_of(replica, state) if replica is not None else {}
        for name, layout in layouts(state).items():
            field = getattr(state, name)
            if layout is Layout.SHARDED:
                _redistribute(field, place, fields.get(name, field[:0]), label.start, comm)
            elif layout is Layout.PER_RANK and same_ranks:
                _return_to_owner(field, fields.get(name), label.rank, comm)


def _redistribute(field: Array, place: ShardPlace, rows: Array, start: int, comm: Comm) -> None:
    """Send rows at positions `start …` to the ranks that have them now, and take those of this rank."""
    bounds = np.concatenate(comm.allgather(np.array([place.start])))[1:]
    cuts = np.clip(bounds - start, 0, len(rows))
    first = np.concatenate([[0], cuts]) + start
    starts = comm.alltoall([np.array([position]) for position in first])
    for position, part in zip(starts, comm.alltoall(np.split(rows, cuts)), strict=True):
        begin = int(position[0]) - place.start
        if len(part):
            field[place.inverse[begin : begin + len(part)]] = part


def _return_to_owner(field: Array, kept: Array | None, owner: int, comm: Comm) -> None:
    """Send a per-rank field from the rank that kept it to its owner."""
    flat = np.empty(0, field.dtype) if kept is None else kept.reshape(-1)
    for part in comm.alltoall([flat if r == owner else flat[:0] for r in range(comm.size)]):
        if len(part):
            field[...] = part.reshape(field.shape)


@dataclass(frozen=True)
class Snapshot:
    """A run before round k: the replicated fields, the record of the run, and replicas of some ranks."""

    attempt: int
    k: int
    epochs: float
    rows: list[HistoryRow]  # of the run so far; later rows are appended to this same list
    count: int  # of the rows that belong to the snapshot
    fields: dict[str, Array]
    replicas: list[Wire] = field(default_factory=list)
    events: str = "[]"  # of the run so far
    certifier: str = ""  # what the certifier has learned, as in a checkpoint

    @property
    def age(self) -> tuple[int, int]:
        """The order of snapshots: by attempt, then by round."""
        return self.attempt, self.k


class LiveState(NamedTuple):
    """The state on which the algorithm works."""

    state: Any
    place: ShardPlace
    attempt: int


@dataclass
class ReplicaStore:
    """What one rank keeps in memory: snapshots, the newest last, and a reference to the state that is in use."""

    attempt: int = 0  # how often the run was started
    snapshots: list[Snapshot] = field(default_factory=list)
    live: LiveState | None = None
    seconds: float = 0.0  # of the run so far
    next_copy: int = 0  # the round before which the next copy is due
    copied_at: float = 0.0  # when the last copy was made
    copied_round: int = 0
    copy_seconds: float = 0.0  # that the last copy took

    def begin(self) -> None:
        """Begin the next attempt of the run."""
        self.attempt += 1
        self.next_copy, self.copied_at, self.copied_round, self.copy_seconds = 0, 0.0, 0, 0.0

    def clear(self) -> None:
        """Forget everything: the replicated fields of the ranks have become different."""
        self.snapshots, self.live = [], None

    @contextmanager
    def copying(self, k: int) -> Iterator[None]:
        """Measure the copy that the block makes before round k."""
        began = time.perf_counter()
        yield
        self.copied_at, self.copied_round = time.perf_counter(), k
        self.copy_seconds = self.copied_at - began

    def snapshot(
        self,
        k: int,
        epochs: float,
        rows: list[HistoryRow],
        state: object,
        events: str = "[]",
        certifier: str = "",
    ) -> Snapshot:
        """Return a snapshot with copies of the replicated fields of a state."""
        fields = {n: getattr(state, n).copy() for n, how in layouts(state).items() if how is Layout.REPLICATED}
        return Snapshot(self.attempt, k, epochs, rows, len(rows), fields, events=events, certifier=certifier)

    def keep(self, snapshot: Snapshot) -> None:
        """Add a snapshot."""
        self.snapshots.append(snapshot)

    def drop_older(self) -> None:
        """Drop all snapshots but the newest."""
        del self.snapshots[:-1]

    def replicas(self) -> list[Wire]:
        """Return all replicas that are kept, and one of the live state."""
        kept = [replica for snapshot in self.snapshots for replica in snapshot.replicas]
        if self.live is None:
            return kept
        return [*kept, pack_replica(self.live.state, self.live.place, self.live.attempt, LIVE)]


class Inventory(NamedTuple):
    """What one rank has: the ages of its snapshots, and the labels of its replicas."""

    ages: list[tuple[int, int]]
    labels: list[ReplicaLabel]


class RestorePlan(NamedTuple):
    """The snapshot from which the run goes on, the rank that has it, and which rank sends which replicas."""

    attempt: int
    k: int
    source: int
    sends: dict[int, list[ReplicaLabel]]  # by rank
    saved_ranks: list[int]  # ranks, numbered as at save time, whose replica is available


def plan_rollback(inventories: Sequence[Inventory]) -> RestorePlan | None:
    """Return the plan for the newest snapshot of which the replicas of all ranks exist; None without one."""
    for attempt, k in sorted({age for one in inventories for age in one.ages}, reverse=True):
        holders = _holders(inventories, ((attempt, k),))
        sizes = {label.size for label in holders}
        if sizes and len(holders) == sizes.pop():
            return _plan(inventories, attempt, k, holders)
    return None


def plan_newest(inventories: Sequence[Inventory]) -> RestorePlan | None:
    """Return the plan for the newest snapshot, with the survivors' live state; None without a snapshot."""
    ages = {age for one in inventories for age in one.ages}
    if not ages:
        return None
    attempt, k = max(ages)
    return _plan(inventories, attempt, k, _holders(inventories, ((attempt, LIVE),)))._replace(saved_ranks=[])


def _holders(inventories: Sequence[Inventory], ages: Iterable[tuple[int, int]]) -> dict[ReplicaLabel, int]:
    """Return the replicas of these ages, each with the first rank that has it."""
    holders: dict[tuple[int, int], tuple[ReplicaLabel, int]] = {}
    for rank, one in enumerate(inventories):
        for label in one.labels:
            if (label.attempt, label.k) in ages:
                holders.setdefault((label.rank, label.size), (label, rank))
    return dict(holders.values())


def _plan(inventories: Sequence[Inventory], attempt: int, k: int, holders: dict[ReplicaLabel, int]) -> RestorePlan:
    source = next(rank for rank, one in enumerate(inventories) if (attempt, k) in one.ages)
    sends = {rank: [label for label, holder in holders.items() if holder == rank] for rank in range(len(inventories))}
    return RestorePlan(attempt, k, source, sends, sorted(label.rank for label in holders))


def share_inventories(store: ReplicaStore, replicas: Sequence[Wire], comm: Comm) -> list[Inventory]:
    """Return the inventories of all ranks; collective."""
    mine = [snapshot.age for snapshot in store.snapshots], [label_of(replica) for replica in replicas]
    return [
        Inventory([(attempt, k) for attempt, k in ages], [ReplicaLabel(*label) for label in labels])
        for ages, labels in allgather_json(comm, mine)
    ]


def restore(
    blank: BlankState, place: ShardPlace, store: ReplicaStore, plan: RestorePlan, replicas: Sequence[Wire], comm: Comm
) -> LoadedState:
    """Return the state as planned, the round and the record of the run; collective."""
    snapshot = next((s for s in store.snapshots if s.age == (plan.attempt, plan.k)), None)
    meta = {"epochs": 0.0, "seconds": 0.0, "history": "", "events": "[]", "certifier": ""}
    if comm.rank == plan.source and snapshot is not None:
        history = rows_to_text(snapshot.rows[: snapshot.count])
        meta = {
            "epochs": snapshot.epochs,
            "seconds": store.seconds,
            "history": history,
            "events": snapshot.events,
            "certifier": snapshot.certifier,
        }
    text = comm.broadcast(np.frombuffer(json.dumps(meta).encode(), np.uint8), plan.source)
    agreed = json.loads(text.tobytes())
    state = blank(agreed)
    for name, layout in layouts(state).items():
        if layout is Layout.REPLICATED:
            field = getattr(state, name)
            field[...] = comm.broadcast(snapshot.fields[name] if snapshot else field, plan.source)
    sends = plan.sends[comm.rank]
    fill(state, place, [r for r in replicas if label_of(r) in sends], plan.saved_ranks, comm)
    return LoadedState(plan.k, agreed, state)
