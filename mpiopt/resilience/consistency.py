"""Replicated fields compared by a checksum: a rank whose memory has changed by itself is found and repaired."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.comm.membership import RollBack
from mpiopt.core.state import Layout, layouts
from mpiopt.data.shard import Shard

# Relative to a field's largest number: unlike processors differ by less, a flipped bit mostly by more.
ROUNDING = 1e-9
SMALLEST = 1e-300  # in place of a largest number of zero


def digest(state: object) -> int:
    """Return the CRC-32 of all replicated fields."""
    crc = 0
    for name in replicated(state):
        crc = zlib.crc32(np.ascontiguousarray(getattr(state, name)).reshape(-1).view(np.uint8).data, crc)
    return crc


def content_sum(shard: Shard) -> int:
    """Return the sum of a rank's rows, labels and weights as integers modulo 2⁶⁴: any flipped bit changes it."""
    arrays = [shard.label, shard.weight, *(a for a in vars(shard.rows).values() if isinstance(a, np.ndarray))]
    return sum(_sum(array) for array in arrays) % 2**64


def _sum(array: Array) -> int:
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    words = len(raw) // 8 * 8
    return int(raw[:words].view(np.uint64).sum(dtype=np.uint64)) + int(raw[words:].sum(dtype=np.uint64))


def majority(digests: Sequence[int]) -> tuple[int, list[int]] | None:
    """Return the lowest rank of the majority with equal digests, and the ranks that deviate; None without one."""
    value, count = Counter(digests).most_common(1)[0]
    if 2 * count <= len(digests):
        return None
    return list(digests).index(value), [rank for rank, other in enumerate(digests) if other != value]


def repair(state: Any, comm: Comm) -> list[int]:
    """Replace the replicated fields of ranks that deviate by those of the majority; collective.

    Without a majority the ranks take the fields of rank 0, if they differ by rounding only.

    Parameters
    ----------
    state : object
        State of an algorithm; its replicated fields are overwritten in place.
    comm : Comm
        The ranks.

    Returns
    -------
    list of int
        The ranks that deviated.

    Raises
    ------
    RollBack
        On all ranks, if there is no majority and they differ by more than rounding.
    """
    digests = [int(part[0]) for part in comm.allgather(np.array([digest(state)], np.int64))]
    verdict = majority(digests)
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
    """Return the names of the replicated fields."""
    return [name for name, layout in layouts(state).items() if layout is Layout.REPLICATED]


def distance(field: Array, right: Array) -> float:
    """Return max|a − b| / max|b| over the finite numbers; infinity if a number is finite on one side only."""
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(field)):
        return np.inf
    a, b = field[finite], right[finite]
    return float(np.abs(a - b).max(initial=0.0) / max(float(np.abs(b).max(initial=0.0)), SMALLEST))
