"""Which rank owns which rows: contiguous blocks of nearly equal size."""

from __future__ import annotations


def block(total: int, size: int, rank: int) -> tuple[int, int]:
    """Return the half-open range of the `total` rows that `rank` of `size` owns; sizes differ by at most one."""
    share, rest = divmod(total, size)
    start = rank * share + min(rank, rest)
    return start, start + share + (1 if rank < rest else 0)
