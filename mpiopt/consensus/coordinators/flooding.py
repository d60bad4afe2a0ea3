"""Every rank gets every other's numbers, and adds them up itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.consensus.coordinators.base import AnyLength, Coordinator, Estimate, Protocol, Site, Vector
from mpiopt.consensus.coordinators.max_consensus import finite


@dataclass(frozen=True)
class Flooding(Coordinator):
    """Relays what is new: D rounds, each vector once along each edge; added in rank order, the bits of Comm.sum.

    The least rounds there can be. The price: each rank holds the vectors of all.
    """

    name = "flooding"
    exact = True

    def sum(self, x: Vector, divisor: int, site: Site, learned: None) -> Protocol[Estimate]:
        """Message: rows of a rank and its vector, float64."""
        fresh = np.concatenate([[float(site.rank)], x])[None]
        known = {site.rank: x}
        for _ in range(site.diameter):
            received = yield AnyLength(fresh)
            rows = {int(row[0]): row for message in received for row in message if int(row[0]) not in known}
            known |= {rank: row[1:] for rank, row in rows.items()}
            fresh = np.array(list(rows.values())).reshape(-1, 1 + x.size)
        if len(known) < site.size:
            raise RuntimeError(f"rank {site.rank} got the numbers of {len(known)} of {site.size} ranks")
        return Estimate(_added([known[rank] for rank in range(site.size)], divisor), site.size * 2.0**-52, self.name)

    def rounds(self, site: Site, learned: None) -> int:
        """D."""
        return site.diameter


def _added(parts: list[Vector], divisor: int) -> Vector:
    if not all(np.isfinite(part).all() for part in parts):
        raise ArithmeticError("a rank brings NaN or infinity to a coordinated sum")
    total = parts[0].copy()
    with np.errstate(over="ignore"):
        for part in parts[1:]:
            total += part
    return finite(total / divisor)
