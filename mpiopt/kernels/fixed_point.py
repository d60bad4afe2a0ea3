"""Fixed-point numbers: integer multiples of 2^grid, cut into digits. Sums of digits are exact and are rounded once.

x = 2^grid Σ_i digit_i 2^(i bits), and the digits of a number have its sign. The idea is that of long accumulators
(U. Kulisch 1971; J. Demmel, Y. Hida 2003).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.kernel_cache import njit

Vector = NDArray[np.float64]
Exponents = NDArray[np.int64]  # (d,), of two
Digits = NDArray[np.int64]  # (count, d)

FRACTION = 2  # digits after the point in a quotient: more than the 54 bits that decide the rounding
_LEAST = -1074  # exponent of the smallest float64
_LARGEST = 1024  # exponent above all float64
_MANTISSA = 53  # bits of the mantissa of a float64


@njit(inline="always")
def _mantissa(x: Any) -> Any:
    """Return the integer mantissa and the exponent of |x|."""
    fraction, exponent = math.frexp(abs(x))
    return np.int64(fraction * 2.0**_MANTISSA), exponent - _MANTISSA


@njit(cache=True, nogil=True)
def split(x: Vector, grid: Exponents, bits: int, count: int) -> Digits:
    """Cut numbers into digits, after rounding each to a multiple of 2^grid.

    Parameters
    ----------
    x
        Finite numbers, shape (d,), |x| < 2^(grid + count bits).
    grid
        Exponents of two, shape (d,).
    bits, count
        Bits of a digit, and digits of a number.

    Returns
    -------
    ndarray
        Digits, shape (count, d).
    """
    out = np.zeros((count, len(x)), np.int64)
    mask = (np.int64(1) << bits) - 1
    for j in range(len(x)):
        if x[j] == 0.0:
            continue
        m, exponent = _mantissa(x[j])
        shift = exponent - grid[j]
        if shift < 0:  # bits below the grid: round to the nearest multiple, ties to even
            if shift < -_MANTISSA - 2:  # below a quarter of the grid
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
            # A carry of the rounding beyond the last digit stays in that digit: sums have room for it.
            if i == out.shape[0]:
                out[i - 1, j] += sign * (m << bits)
                break
            out[i, j] = sign * (m & mask)
            m >>= bits
    return out


@njit(inline="always")
def _carried(total: Any, j: int, sign: int, bits: int, digits: Any) -> Any:
    """Write the digits of sign · total, all >= 0, before FRACTION zeros; return the last carry: its sign is x's."""
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
    """Divide the digits in place; return the remainder."""
    rest = np.int64(0)
    for i in range(len(digits) - 1, -1, -1):
        value = (rest << bits) | digits[i]
        digits[i] = value // divisor
        rest = value % divisor
    return rest


@njit(inline="always")
def _length(digits: Any, bits: int) -> Any:
    """Return the number of bits up to the highest one that is set."""
    for i in range(len(digits) - 1, -1, -1):
        length = 0
        while digits[i] >> length:
            length += 1
        if length:
            return i * bits + length
    return 0


@njit(inline="always")
def _rounded(digits: Any, rest: Any, grid: int, bits: int) -> Any:
    """Round 2^grid Σ digits 2^(i bits), plus a little where rest > 0, to the nearest float64, ties to even."""
    length = _length(digits, bits)
    last = max(length - _MANTISSA, _LEAST - grid, 1)  # place of the last bit that is kept
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
def join(total: Digits, grid: Exponents, bits: int, divisor: int) -> Vector:
    """Return the numbers with these sums of digits, divided and then rounded once.

    Parameters
    ----------
    total
        Sums of digits, shape (count, d).
    grid, bits
        As in `split`.
    divisor
        A positive integer below 2^(63 - bits).

    Returns
    -------
    ndarray
        float64, shape (d,).
    """
    out = np.empty(total.shape[1])
    digits = np.zeros(FRACTION + total.shape[0] + 1, np.int64)
    for j in range(total.shape[1]):
        sign = 1
        if _carried(total, j, 1, bits, digits) < 0:
            sign = -1
            _carried(total, j, -1, bits, digits)
        rest = _divide(digits, divisor, bits)
        out[j] = sign * _rounded(digits, rest, grid[j] - FRACTION * bits, bits)
    return out


def places(x: Vector) -> tuple[Exponents, Exponents]:
    """Return exponents (top, bottom), each (d,): x (d,) is a multiple of 2^bottom and |x| < 2^top.

    Where x is 0 they are -1074 and 1024, which neither a maximum nor a minimum over ranks takes from other numbers.
    """
    fractions, exponents = np.frexp(np.abs(x))
    mantissas = (fractions * 2.0**_MANTISSA).astype(np.int64)
    zeros = np.frexp((mantissas & -mantissas).astype(np.float64))[1] - 1
    return np.where(x == 0.0, _LEAST, exponents), np.where(x == 0.0, _LARGEST, exponents - _MANTISSA + zeros)
