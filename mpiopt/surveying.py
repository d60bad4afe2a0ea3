"""The first pass of a conversion: sizes, checksum, labels, and where the nonzeros of each piece will lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt import labels
from mpiopt.comm import Comm
from mpiopt.datasets import PIECE, Source, together
from mpiopt.loading import Seen, checked, note, of_all
from mpiopt.shaping import Numbers
from mpiopt.shard import Vector


@dataclass(frozen=True, eq=False)
class Survey:
    """What must be known of a whole source before it is written."""

    seen: Seen
    starts: Numbers  # of all pieces, ascending
    before: Numbers  # nonzeros before each of them
    labels: Vector  # distinct, ascending


def survey(path: str, source: Source, comm: Comm) -> Survey:
    """Read everything once: sizes, checksum, labels, and where the nonzeros of each piece will lie."""
    seen, counts, values = together(comm, lambda: _count(path, source, comm))
    table = np.concatenate(comm.allgather(counts))
    table = table[np.argsort(table[:, 0], kind="stable")]
    distinct = labels.distinct(values, comm)
    return Survey(of_all(seen, comm), table[:, 0], np.cumsum(table[:, 1]) - table[:, 1], distinct)


def _count(path: str, source: Source, comm: Comm) -> tuple[Seen, Numbers, Vector]:
    seen = Seen(features=source.features or 0)
    counts: list[tuple[int, int]] = []
    values = np.empty(0)
    for piece in checked(path, source.pieces(piece_of(comm))):
        before = seen.nonzeros
        note(piece, seen)
        counts.append((piece.start, seen.nonzeros - before))
        values = np.unique(np.concatenate([values, piece.label]))[: labels.MOST_CLASSES + 1]
    return seen, np.array(counts, np.int64).reshape(-1, 2), values


def piece_of(comm: Comm) -> int:
    """Give the size of a piece: those of all ranks may meet on rank 0."""
    return max(PIECE // comm.size, 1 << 16)
