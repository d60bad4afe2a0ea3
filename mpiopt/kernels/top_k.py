"""The k largest magnitudes of a vector, and increasing integers in few bits (Elias-Fano code)."""

from __future__ import annotations

import math

import numpy as np

from mpiopt.kernels import bitpack
from mpiopt.kernels.arrays import Bytes, Integers, Symbols, Vector
from mpiopt.kernels.bits import bits_of, float_of
from mpiopt.kernels.kernel_cache import njit

SHORT = 512  # numbers up to which a vector is sorted whole
SAMPLE = 4096  # most numbers of the sample from which the threshold is taken
CHUNK = 16  # numbers that are compared with the threshold together
SAFETY = 4.0  # standard deviations, and numbers, by which the threshold is lower than expected
_MAGNITUDE = np.uint64((1 << 63) - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _magnitudes(x: Vector, out: Vector) -> None:
    """Write the magnitudes of len(out) evenly spaced numbers of x to `out`."""
    for i in range(len(out)):
        out[i] = float_of(bits_of(x[i * (len(x) // len(out))]) & _MAGNITUDE)


@njit(cache=True, nogil=True, error_model="numpy")
def _count(x: Vector, threshold: float) -> int:
    """Count the magnitudes at or above the threshold."""
    n = 0
    for i in range(len(x)):
        n += abs(x[i]) >= threshold
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def _collect(x: Vector, threshold: float, indices: Integers) -> None:
    """Write the increasing indices of magnitudes at or above the threshold to `indices`, which has one more."""
    n = 0
    for begin in range(0, len(x), CHUNK):
        part, hits = x[begin : begin + CHUNK], 0
        if len(part) == CHUNK:
            for i in range(CHUNK):
                hits += abs(part[i]) >= threshold
        else:
            hits = 1
        for i in range(len(part) if hits > 0 else 0):
            indices[n] = begin + i  # overwritten unless it reaches the threshold
            n += abs(part[i]) >= threshold


@njit(cache=True, nogil=True, error_model="numpy")
def _choose(x: Vector, among: Integers, last: float, equal: int, out: Integers) -> None:
    """Write those of `among` with magnitudes above `last`, and the first `equal` at it, to `out`."""
    n = 0
    for i in range(len(among)):
        size = abs(x[among[i]])
        if size > last or (size == last and equal > 0):
            equal -= size == last
            out[n] = among[i]
            n += 1


def largest_magnitudes(x: Vector, k: int) -> Integers:
    """Return the indices of the k largest magnitudes in increasing order; of equal ones the first.

    A threshold from a sample leaves few candidates, which are sorted.

    Parameters
    ----------
    x : ndarray, shape (d,)
        The vector.
    k : int
        At most d.

    Returns
    -------
    ndarray of int64, shape (k,)
    """
    out = np.empty(k, np.int64)
    if k:
        among = _candidates(x, k)
        sizes = np.abs(x[among])
        last = float(np.partition(sizes, sizes.size - k)[sizes.size - k])
        _choose(x, among, last, k - int((sizes > last).sum()), out)
    return out


def _candidates(x: Vector, k: int) -> Integers:
    """Return at least k increasing indices that hold the k largest; few more if the sample is like x."""
    threshold = _threshold(x, k) if x.size > SHORT and 2 * k < x.size else 0.0
    n = _count(x, threshold) if threshold > 0.0 else 0
    if not k <= n < x.size:
        return np.arange(x.size)
    indices = np.empty(n + 1, np.int64)
    _collect(x, threshold, indices)
    return indices[:n]


def _threshold(x: Vector, k: int) -> float:
    """Return a number that a little more than k magnitudes probably reach, from a sample of x."""
    sample = np.empty(min(SAMPLE, x.size // 8))
    _magnitudes(x, sample)
    expected = sample.size * k / x.size
    place = max(0, sample.size - math.ceil(expected + SAFETY * math.sqrt(expected) + SAFETY))
    return float(np.partition(sample, place)[place])


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(indices: Integers, low: int, upper: Bytes) -> None:
    """Set bit number (index >> low) + i for the i-th index."""
    for i in range(len(indices)):
        bit = (indices[i] >> low) + i
        upper[bit >> 3] |= np.uint8(1 << (bit & 7))


@njit(cache=True, nogil=True, error_model="numpy")
def _read(upper: Bytes, low: int, lower: Symbols, out: Integers) -> int:
    """Write the indices to `out`; return how many bits of `upper` are set."""
    n = 0
    for byte in range(len(upper)):
        for j in range(8):
            if upper[byte] >> j & 1:
                if n < len(out):
                    out[n] = ((8 * byte + j - n) << low) | np.int64(lower[n])
                n += 1
    return n


def _low(k: int, d: int) -> int:
    """Return the number of lower bits of each index, ⌊log₂(d/k)⌋."""
    return max(0, (d // max(k, 1)).bit_length() - 1)


def increasing_bytes(k: int, d: int) -> int:
    """Return the number of bytes of k increasing integers below d."""
    return bitpack.packed_bytes(k, _low(k, d)) + (k + ((d - 1) >> _low(k, d)) + 7) // 8 if k else 0


def encode_increasing(indices: Integers, d: int) -> Bytes:
    """Code increasing integers below d in at most k (2 + log₂(d/k)) bits (Elias 1974, Fano 1971).

    The lower l = ⌊log₂(d/k)⌋ bits of each, packed; then bits of which integer number i sets the one at
    (integer >> l) + i.

    Parameters
    ----------
    indices : ndarray of int64, shape (k,)
        Increasing, below d.
    d : int
        The bound.

    Returns
    -------
    ndarray of uint8, shape (increasing_bytes(k, d),)
    """
    low = _low(indices.size, d)
    lower = (
        bitpack.pack((indices & ((1 << low) - 1)).astype(bitpack.symbol_type(low)), low)
        if low
        else np.empty(0, np.uint8)
    )
    upper = np.zeros(increasing_bytes(indices.size, d) - lower.size, np.uint8)
    _mark(indices, low, upper)
    return np.concatenate([lower, upper])


def decode_increasing(coded: Bytes, k: int, d: int) -> Integers | None:
    """Return the k integers that were coded; None if the bytes are not those of k increasing integers below d."""
    low, indices = _low(k, d), np.zeros(k, np.int64)
    cut = bitpack.packed_bytes(k, low)
    lower = bitpack.unpack(coded[:cut], k, low) if low else np.zeros(k, np.uint8)
    n = _read(coded[cut:], low, lower, indices)
    valid = n == k and (k == 0 or (indices[-1] < d and bool((np.diff(indices) > 0).all())))
    return indices if valid else None
