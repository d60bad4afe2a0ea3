"""Flooding: every rank gets the numbers of every other rank and adds them up itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.comm.nodes import pairwise
from mpiopt.consensus.coordinators.base import AnyLength, Coordinator, Estimate, Protocol, RankView, Vector
from mpiopt.consensus.coordinators.max_consensus import NOT_FINITE_RANK, finite


@dataclass(frozen=True)
class Flooding(Coordinator):
    """Relays what is new: D rounds, each vector once along each edge; added as Comm.sum does, to the same bits.

    No coordinator takes fewer rounds. The price: each rank holds the vectors of all ranks.
    """

    name = "flooding"
    exact = True

    def sum(self, x: Vector, divisor: int, view: RankView, learned: None) -> Protocol[Estimate]:
        """Flood for D rounds; a message has one row for each new rank: the rank and its vector, float64."""
        fresh = np.concatenate([[float(view.rank)], x])[None]
        known = {view.rank: x}
        for _ in range(view.diameter):
            received = yield AnyLength(fresh)
            rows = {int(row[0]): row for message in received for row in message if int(row[0]) not in known}
            known |= {rank: row[1:] for rank, row in rows.items()}
            fresh = np.array(list(rows.values())).reshape(-1, 1 + x.size)
        if len(known) < view.size:
            raise RuntimeError(f"rank {view.rank} got the numbers of {len(known)} of {view.size} ranks")
        return Estimate(_added([known[rank] for rank in range(view.size)], divisor), view.size * 2.0**-52, self.name)

    def rounds(self, view: RankView, learned: None) -> int:
        """Return D."""
        return view.diameter


def _added(parts: list[Vector], divisor: int) -> Vector:
    """Return the sum of the ranks' vectors, added pairwise, over the divisor."""
    if not all(np.isfinite(part).all() for part in parts):
        raise ArithmeticError(NOT_FINITE_RANK)
    return finite(pairwise(np.add, parts) / divisor)
