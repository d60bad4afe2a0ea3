"""Who owns which rows: the arithmetic of contiguous blocks."""

from __future__ import annotations


def block(total: int, size: int, rank: int) -> tuple[int, int]:
    """Give the half-open range of the `total` rows that `rank` of `size` owns; sizes differ by one at most."""
    share, rest = divmod(total, size)
    start = rank * share + min(rank, rest)
    return start, start + share + (1 if rank < rest else 0)
