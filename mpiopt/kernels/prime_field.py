"""Arithmetic modulo the Mersenne prime p = 2⁶¹ - 1, on vectors of residues 0 … p-1 stored as uint64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.kernel_cache import njit

P = (1 << 61) - 1
Residues = NDArray[np.uint64]  # (d,)

_P = np.uint64(P)
_LOW31 = np.uint64((1 << 31) - 1)
_LOW30 = np.uint64((1 << 30) - 1)
_1, _30, _31, _61 = np.uint64(1), np.uint64(30), np.uint64(31), np.uint64(61)


@njit(inline="always")
def _times(a: Any, b: Any) -> Any:
    """Return a · b mod p."""
    # The factors are cut into halves of 30 and 31 bits. Modulo p, 2⁶² = 2 and 2⁶¹ = 1. Every sum stays below 2⁶⁴.
    ah, al = a >> _31, a & _LOW31
    bh, bl = b >> _31, b & _LOW31
    middle = al * bh + ah * bl
    total = ((ah * bh) << _1) + (middle >> _30) + ((middle & _LOW30) << _31) + al * bl
    total = (total >> _61) + (total & _P)
    return total - _P if total >= _P else total


@njit(inline="always")
def _plus(a: Any, b: Any) -> Any:
    """Return a + b mod p."""
    total = a + b
    return total - _P if total >= _P else total


@njit(cache=True, nogil=True)
def multiple(x: Residues, factor: int) -> Residues:
    """Return factor · x, shape (d,); factor from 0 to p-1."""
    out, times = np.empty_like(x), np.uint64(factor)
    for i in range(len(x)):
        out[i] = _times(x[i], times)
    return out


@njit(cache=True, nogil=True)
def add(x: Residues, out: Residues) -> None:
    """Add x (d,) to out (d,), in place."""
    for i in range(len(x)):
        out[i] = _plus(out[i], x[i])


@njit(cache=True, nogil=True)
def add_multiple(x: Residues, factor: int, out: Residues) -> None:
    """Add factor · x to out, shapes (d,), in place; factor from 0 to p-1."""
    times = np.uint64(factor)
    for i in range(len(x)):
        out[i] = _plus(out[i], _times(x[i], times))


def to_residues(x: NDArray[np.int64]) -> Residues:
    """Return integers between -p/2 and p/2, shape (d,), as residues."""
    return np.where(x < 0, x + P, x).astype(np.uint64)


def from_residues(x: Residues) -> NDArray[np.int64]:
    """Return the integers between -p/2 and p/2 that have these residues."""
    signed = x.astype(np.int64)
    return np.where(signed > P // 2, signed - P, signed)
