"""Numbers as whole multiples of 2^grid, cut into digits of some bits: sums of digits are exact, and rounded once.

x = 2^grid Σ_i digit_i 2^(i bits); the digits of a number have its sign. (The idea is that of long accumulators:
Kulisch 1971; Demmel, Hida 2003.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Exponents = NDArray[np.int64]  # (d,), of two
Digits = NDArray[np.int64]  # (count, d)

FRACTION = 2  # digits after the point in a quotient: more than the 54 bits that rounding looks at
_LEAST = -1074  # the exponent of the smallest float64


@njit(inline="always")
def _mantissa(x: Any) -> Any:
    fraction, exponent = math.frexp(abs(x))
    return np.int64(fraction * 9007199254740992.0), exponent - 53


@njit(cache=True, nogil=True)
def _split(x: Any, grid: Any, bits: int, out: Any) -> None:
    mask = (np.int64(1) << bits) - 1
    for j in range(len(x)):
        if x[j] == 0.0:
            continue
        m, exponent = _mantissa(x[j])
        shift = exponent - grid[j]
        if shift < 0:  # below the grid: to the nearest multiple, ties to even
            if shift < -55:
                continue
            rest = m & ((np.int64(1) << -shift) - 1)
            half = np.int64(1) << (-shift - 1)
            m >>= -shift
            if rest > half or (rest == half and m & 1):
                m += 1
            shift = 0
        sign = np.int64(-1) if x[j] < 0.0 else np.int64(1)
        i, offset = shift // bits, shift % bits
        room = bits - offset
        out[i, j] = sign * ((m & ((np.int64(1) << room) - 1)) << offset)
        m >>= room
        while m > 0:
            i += 1
            # What rounding carried beyond the last digit stays in it: sums have room for that.
            if i == out.shape[0]:
                out[i - 1, j] += sign * (m << bits)
                break
            out[i, j] = sign * (m & mask)
            m >>= bits


@njit(inline="always")
def _carried(total: Any, j: int, sign: int, bits: int, digits: Any) -> Any:
    """Put the digits of sign · total, all >= 0, after the point; give the last carry, whose sign is the number's."""
    mask = (np.int64(1) << bits) - 1
    carry = np.int64(0)
    for i in range(FRACTION):
        digits[i] = 0
    for i in range(total.shape[0]):
        value = sign * total[i, j] + carry
        digits[FRACTION + i] = value & mask
        carry = value >> bits
    digits[FRACTION + total.shape[0]] = carry
    return carry


@njit(inline="always")
def _divide(digits: Any, divisor: int, bits: int) -> Any:
    """Divide the digits; give the remainder."""
    rest = np.int64(0)
    for i in range(len(digits) - 1, -1, -1):
        value = (rest << bits) | digits[i]
        digits[i] = value // divisor
        rest = value % divisor
    return rest


@njit(inline="always")
def _length(digits: Any, bits: int) -> Any:
    for i in range(len(digits) - 1, -1, -1):
        length = 0
        while digits[i] >> length:
            length += 1
        if length:
            return i * bits + length
    return 0


@njit(inline="always")
def _rounded(digits: Any, rest: Any, grid: int, bits: int) -> Any:
    """Give 2^grid Σ digits 2^(i bits), and a bit more where rest > 0, to the nearest float64, ties to even."""
    length = _length(digits, bits)
    last = max(length - 53, _LEAST - grid, 1)  # the place of the last bit that is kept
    kept, half, sticky = np.int64(0), np.int64(0), rest > 0
    for i in range(len(digits) - 1, -1, -1):
        above = last - i * bits  # bits of this digit that are dropped
        if above <= 0:
            kept = (kept << bits) | digits[i]
        elif above <= bits:
            kept = (kept << (bits - above)) | (digits[i] >> above)
            half = (digits[i] >> (above - 1)) & 1
            sticky = sticky or (digits[i] & ((np.int64(1) << (above - 1)) - 1)) != 0
        else:
            sticky = sticky or digits[i] != 0
    if half and (sticky or kept & 1):
        kept += 1
    return math.ldexp(np.float64(kept), last + grid)


@njit(cache=True, nogil=True)
def _join(total: Any, grid: Any, bits: int, divisor: int, out: Any) -> None:
    digits = np.zeros(FRACTION + total.shape[0] + 1, np.int64)
    for j in range(total.shape[1]):
        sign = 1
        if _carried(total, j, 1, bits, digits) < 0:
            sign = -1
            _carried(total, j, -1, bits, digits)
        rest = _divide(digits, divisor, bits)
        out[j] = sign * _rounded(digits, rest, grid[j] - FRACTION * bits, bits)


def split(x: Vector, grid: Exponents, bits: int, count: int) -> Digits:
    """Give `count` digits of each finite x, |x| < 2^(grid + count bits), rounded to a multiple of 2^grid."""
    out = np.zeros((count, len(x)), np.int64)
    _split(x, grid, bits, out)
    return out


def join(total: Digits, grid: Exponents, bits: int, divisor: int) -> Vector:
    """Give the numbers with these sums of digits, divided by a whole number < 2^(63 - bits), rounded once."""
    out = np.empty(total.shape[1])
    _join(total, grid, bits, divisor, out)
    return out


def places(x: Vector) -> tuple[Exponents, Exponents]:
    """Give (top, bottom), elementwise: x is a multiple of 2^bottom, |x| < 2^top; (-1074, 1024) where it is 0."""
    fractions, exponents = np.frexp(np.abs(x))
    mantissas = (fractions * 2.0**53).astype(np.int64)
    zeros = np.frexp((mantissas & -mantissas).astype(np.float64))[1] - 1
    return np.where(x == 0.0, _LEAST, exponents), np.where(x == 0.0, 1024, exponents - 53 + zeros)
