"""Replicated fields compared by a checksum: a rank whose memory has changed by itself is found and set right."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.comm.membership import RollBack
from mpiopt.core.state import Layout, layouts

ROUNDING = 1e-9  # of the largest number of a field


def digest(state: object) -> int:
    """Give the CRC-32 of all replicated fields."""
    crc = 0
    for name in replicated(state):
        crc = zlib.crc32(np.ascontiguousarray(getattr(state, name)).reshape(-1).view(np.uint8).data, crc)
    return crc


def majority(digests: Sequence[int]) -> tuple[int, list[int]] | None:
    """Give the lowest rank of the more than half that agree, and those that deviate; None where no more do."""
    value, count = Counter(digests).most_common(1)[0]
    if 2 * count <= len(digests):
        return None
    return list(digests).index(value), [rank for rank, other in enumerate(digests) if other != value]


def compare(state: Any, comm: Comm) -> list[int]:
    """Set ranks right whose replicated fields deviate, and name them; collective.

    Where no majority agrees and the ranks differ by rounding only (unlike processors), rank 0 is right.

    Raises
    ------
    RollBack
        On all ranks, where they differ by more.
    """
    found = [int(part[0]) for part in comm.allgather(np.array([digest(state)], np.int64))]
    verdict = majority(found)
    source, deviating = verdict or (0, list(range(1, comm.size)))
    if not deviating:
        return []
    right = {name: comm.broadcast(getattr(state, name), source) for name in replicated(state)}
    apart = max(distance(getattr(state, name), field) for name, field in right.items())
    if verdict is None and float(comm.max(np.array([apart]))[0]) > ROUNDING:
        raise RollBack(f"replicated state differs between the {comm.size} ranks, and no majority agrees")
    for name, field in right.items():
        getattr(state, name)[...] = field
    return deviating


def replicated(state: object) -> list[str]:
    """Name the replicated fields."""
    return [name for name, layout in layouts(state).items() if layout is Layout.REPLICATED]


def distance(field: Array, right: Array) -> float:
    """Give max|a − b| over max|b|, with what is finite; infinite where one is finite and the other not."""
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(field)):
        return np.inf
    a, b = field[finite], right[finite]
    return float(np.abs(a - b).max(initial=0.0) / max(float(np.abs(b).max(initial=0.0)), 1e-300))
