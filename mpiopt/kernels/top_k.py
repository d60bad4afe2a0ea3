"""The k largest magnitudes of a vector, and rising whole numbers in few bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mpiopt.kernels import bitpack
from mpiopt.kernels.random_words import bits_of, float_of

Places = NDArray[np.int64]
SHORT, SAMPLE = 512, 4096  # numbers of a vector that is taken whole; most that are looked at for a threshold
CHUNK = 16  # numbers that are looked at together
_MAGNITUDE = np.uint64((1 << 63) - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _magnitudes(x: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = float_of(bits_of(x[i * (len(x) // len(out))]) & _MAGNITUDE)


@njit(cache=True, nogil=True, error_model="numpy")
def _count(x: Any, threshold: float) -> int:
    n = 0
    for i in range(len(x)):
        n += abs(x[i]) >= threshold
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def _collect(x: Any, threshold: float, places: Any) -> None:
    """Put the rising places of numbers at or above the threshold into `places`, which has one more."""
    n = 0
    for begin in range(0, len(x), CHUNK):
        part, hits = x[begin : begin + CHUNK], 0
        if len(part) == CHUNK:
            for i in range(CHUNK):
                hits += abs(part[i]) >= threshold
        else:
            hits = 1
        for i in range(len(part) if hits > 0 else 0):
            places[n] = begin + i  # written over unless it reaches the threshold
            n += abs(part[i]) >= threshold


@njit(cache=True, nogil=True, error_model="numpy")
def _choose(x: Any, among: Any, last: float, equal: int, out: Any) -> None:
    """Put those of `among` above `last`, and the first `equal` at it, into `out`."""
    n = 0
    for i in range(len(among)):
        size = abs(x[among[i]])
        if size > last or (size == last and equal > 0):
            equal -= size == last
            out[n] = among[i]
            n += 1


def largest_magnitudes(x: NDArray[np.float64], k: int) -> Places:
    """Give the places of the k largest magnitudes, rising; of equal ones the first. By a threshold from a sample."""
    out = np.empty(k, np.int64)
    if k:
        among = _candidates(x, k)
        sizes = np.abs(x[among])
        last = float(np.partition(sizes, sizes.size - k)[sizes.size - k])
        _choose(x, among, last, k - int((sizes > last).sum()), out)
    return out


def _candidates(x: NDArray[np.float64], k: int) -> Places:
    """Give at least k places that hold the k largest, rising; few more where x looks like its sample."""
    threshold = _threshold(x, k) if x.size > SHORT and 2 * k < x.size else 0.0
    n = _count(x, threshold) if threshold > 0.0 else 0
    if not k <= n < x.size:
        return np.arange(x.size)
    places = np.empty(n + 1, np.int64)
    _collect(x, threshold, places)
    return places[:n]


def _threshold(x: NDArray[np.float64], k: int) -> float:
    """Give a number that a little more than k magnitudes are likely to reach, from every so manieth."""
    sample = np.empty(min(SAMPLE, x.size // 8))
    _magnitudes(x, sample)
    expected = sample.size * k / x.size
    place = max(0, sample.size - math.ceil(expected + 4.0 * math.sqrt(expected) + 4.0))
    return float(np.partition(sample, place)[place])


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(places: Any, low: int, upper: Any) -> None:
    for i in range(len(places)):
        bit = (places[i] >> low) + i
        upper[bit >> 3] |= np.uint8(1 << (bit & 7))


@njit(cache=True, nogil=True, error_model="numpy")
def _read(upper: Any, low: int, lower: Any, out: Any) -> int:
    n = 0
    for byte in range(len(upper)):
        for j in range(8):
            if upper[byte] >> j & 1:
                if n < len(out):
                    out[n] = ((8 * byte + j - n) << low) | np.int64(lower[n])
                n += 1
    return n


def _low(k: int, d: int) -> int:
    return max(0, (d // max(k, 1)).bit_length() - 1)


def increasing_bytes(k: int, d: int) -> int:
    """Give the bytes of k rising numbers below d."""
    return bitpack.packed_bytes(k, _low(k, d)) + (k + ((d - 1) >> _low(k, d)) + 7) // 8 if k else 0


def encode_increasing(places: Places, d: int) -> bitpack.Bytes:
    """Give rising numbers below d in k (2 + log₂(d/k)) bits or fewer (Elias 1974, Fano 1971).

    The lower l = ⌊log₂(d/k)⌋ bits of each, packed; then bits of which number i sets the one at (number >> l) + i.
    """
    low = _low(places.size, d)
    lower = (
        bitpack.pack((places & ((1 << low) - 1)).astype(bitpack.symbol_type(low)), low)
        if low
        else np.empty(0, np.uint8)
    )
    upper = np.zeros(increasing_bytes(places.size, d) - lower.size, np.uint8)
    _mark(places, low, upper)
    return np.concatenate([lower, upper])


def decode_increasing(wire: bitpack.Bytes, k: int, d: int) -> Places | None:
    """Give the numbers that were coded; None where the bytes are not those of k rising numbers below d."""
    low, places = _low(k, d), np.zeros(k, np.int64)
    cut = bitpack.packed_bytes(k, low)
    lower = bitpack.unpack(wire[:cut], k, low) if low else np.zeros(k, np.uint8)
    n = _read(wire[cut:], low, lower, places)
    valid = n == k and (k == 0 or (places[-1] < d and bool((np.diff(places) > 0).all())))
    return places if valid else None
