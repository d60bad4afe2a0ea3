"""The torus of two dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.topologies import Topology


@dataclass(frozen=True)
class Torus(Topology):
    """Ranks in rows and columns, each sends to its four neighbours; rows=0: as square as size allows."""

    name = "torus"

    rows: int = 0

    def __post_init__(self) -> None:
        if self.rows < 0:
            raise ValueError(f"rows must be at least 1, or 0 for as square as possible, not {self.rows}")

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Give the neighbours along the row and along the column."""
        rows = self.rows or next(r for r in range(math.isqrt(size), 0, -1) if size % r == 0)
        if size % rows:
            raise ValueError(f"a torus of {rows} rows does not fit {size} ranks: {size} is no multiple of {rows}")
        columns = size // rows
        return [
            [
                (i + down) % rows * columns + (j + right) % columns
                for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0))
            ]
            for i in range(rows)
            for j in range(columns)
        ]
