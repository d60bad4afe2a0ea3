"""One rank's part of a state as bytes in the order of the sequence, and a state filled from the parts of all ranks.

On the same number of ranks everything comes back bit by bit; on another, sharded fields are cut anew and per-rank
fields stay blank, as after the load of a checkpoint. Replicated fields are no part of a piece: every rank has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm import Array, Comm
from mpiopt.shard import Shard
from mpiopt.state import Layout, Wire, layouts

HEAD = 6 * 8  # bytes before the fields


class Label(NamedTuple):
    """Whose piece it is: the life of the job, the round before which it was cut, the rank, and its rows."""

    life: int
    k: int
    rank: int
    size: int
    start: int
    rows: int


@dataclass(frozen=True)
class Place:
    """Where a rank's rows lie in the sequence; row j in memory is position `start + order[j]`."""

    rank: int
    size: int
    start: int
    order: NDArray[np.int64]
    inverse: NDArray[np.int64]


def place_of(shard: Shard, comm: Comm) -> Place:
    """Give the place of a shard; it does not keep the rows alive."""
    return Place(comm.rank, comm.size, shard.start, shard.order, np.argsort(shard.order))


def cut(state: object, place: Place, life: int, k: int) -> Wire:
    """Give the sharded fields, in the order of the sequence, and the per-rank fields behind a label."""
    label = Label(life, k, place.rank, place.size, place.start, len(place.order))
    parts = [np.array(label, np.int64)]
    for name, layout in layouts(state).items():
        if layout is Layout.SHARDED:
            parts.append(np.take(getattr(state, name), place.inverse, axis=0))
        elif layout is Layout.PER_RANK:
            parts.append(getattr(state, name))
    return np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts])


def label_of(piece: Wire) -> Label:
    """Read the label of a piece."""
    return Label(*piece[:HEAD].view(np.int64).tolist())


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


def fill(state: Any, place: Place, mine: Sequence[Wire], whole: Sequence[int], comm: Comm) -> None:
    """Fill the sharded fields of `state` from the pieces that the ranks bring, maybe the per-rank ones; collective.

    Per-rank fields are filled where all pieces are there, `whole` being 0 … size-1 of as many ranks as there are now.
    Rows that no piece has stay as they are.
    """
    turns = int(comm.max(np.array([len(mine)]))[0])
    private = list(whole) == list(range(comm.size))
    for turn in range(turns):
        piece = mine[turn] if turn < len(mine) else None
        label = label_of(piece) if piece is not None else Label(0, 0, -1, 0, 0, 0)
        fields = fields_of(piece, state) if piece is not None else {}
        for name, layout in layouts(state).items():
            field = getattr(state, name)
            if layout is Layout.SHARDED:
                _cut_anew(field, place, fields.get(name, field[:0]), label.start, comm)
            elif layout is Layout.PER_RANK and private:
                _hand_over(field, fields.get(name), label.rank, comm)


def _cut_anew(field: Array, place: Place, rows: Array, start: int, comm: Comm) -> None:
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
