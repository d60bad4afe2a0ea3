"""Decimal text to the nearest float64, as `float` rounds it, in compiled code.

Clinger's fast path, then the algorithm of Eisel and Lemire (D. Lemire, "Number parsing at a gigabyte per second",
2021; no fallback is needed for up to 19 digits: Mushtak and Lemire, 2023).
"""

from __future__ import annotations

import numpy as np
from numba import njit

LOWEST, HIGHEST = -342, 308  # powers of ten beyond which a 19-digit number is 0 or infinite
GOOD, BAD, SLOW = 0, 1, 2  # a number; none; one with more than 19 digits that `float` must decide


def _power_of_five(q: int) -> tuple[int, int]:
    if q >= 0:
        number = 5**q
        shift = 128 - number.bit_length()
        top = number << shift if shift >= 0 else number >> -shift
    else:
        number = 5**-q
        top = (1 << (number.bit_length() + 127)) // number + 1
        top >>= top.bit_length() - 128
    return top >> 64, top & (2**64 - 1)


_BOTH = np.array([_power_of_five(q) for q in range(LOWEST, HIGHEST + 1)], np.uint64)
FIVE_HIGH, FIVE_LOW = np.ascontiguousarray(_BOTH[:, 0]), np.ascontiguousarray(_BOTH[:, 1])
TEN = 10.0 ** np.arange(23)
_U0, _U1, _U32, _U63 = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(63)
_MASK32 = np.uint64(0xFFFFFFFF)
_MASK9 = np.uint64(0x1FF)
_HIDDEN = np.uint64(1 << 52)
_INFINITE = np.uint64(0x7FF << 52)
_EXACT = np.uint64(1 << 53)


@njit(cache=True, nogil=True, inline="always")
def _multiply(a, b):  # type: ignore[no-untyped-def]
    """Give the high and the low word of a 64 × 64 bit product."""
    a0, a1, b0, b1 = a & _MASK32, a >> _U32, b & _MASK32, b >> _U32
    low = a0 * b0
    middle = a1 * b0 + (low >> _U32)
    cross = a0 * b1 + (middle & _MASK32)
    return a1 * b1 + (middle >> _U32) + (cross >> _U32), (cross << _U32) | (low & _MASK32)


@njit(cache=True, nogil=True)
def _leading_zeros(w):  # type: ignore[no-untyped-def]
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if w >> np.uint64(64 - step) == _U0:
            zeros += step
            w = w << np.uint64(step)
    return zeros


@njit(cache=True, nogil=True)
def nearest_bits(w, q):  # type: ignore[no-untyped-def]
    """Give the bits of the float64 nearest to w · 10^q, for a uint64 w and an int64 q."""
    if w == _U0 or q < LOWEST:
        return _U0
    if q > HIGHEST:
        return _INFINITE
    zeros = _leading_zeros(w)
    w = w << np.uint64(zeros)
    high, low = _multiply(w, FIVE_HIGH[q - LOWEST])
    if high & _MASK9 == _MASK9:
        more, _ = _multiply(w, FIVE_LOW[q - LOWEST])
        low = low + more
        if more > low:
            high = high + _U1
    upper = high >> _U63
    shift = upper + np.uint64(9)
    mantissa = high >> shift
    power = ((217706 * q) >> 16) + 63 + np.int64(upper) - zeros + 1023
    if power <= 0:
        return _subnormal(mantissa, power)
    if low <= _U1 and -4 <= q <= 23 and mantissa & np.uint64(3) == _U1 and mantissa << shift == high:
        mantissa = mantissa - _U1  # exactly half way: to even
    mantissa = (mantissa + (mantissa & _U1)) >> _U1
    if mantissa >= _EXACT:
        mantissa = _HIDDEN
        power += 1
    if power >= 2047:
        return _INFINITE
    return (mantissa - _HIDDEN) | (np.uint64(power) << np.uint64(52))


@njit(cache=True, nogil=True)
def _subnormal(mantissa, power):  # type: ignore[no-untyped-def]
    if 1 - power >= 64:
        return _U0
    mantissa = mantissa >> np.uint64(1 - power)
    return (mantissa + (mantissa & _U1)) >> _U1  # the carry into the exponent is the right smallest normal number


@njit(cache=True, nogil=True, inline="always")
def number(text, i, bits, real):  # type: ignore[no-untyped-def]
    """Read a decimal number at text[i]; the text must hold a byte that ends any number.

    Gives the value, the place after it, and GOOD, BAD or SLOW. `bits` and `real` are one scratch word seen as
    uint64 and as float64. Letters (nan, inf) and hexadecimal digits are BAD; too large gives infinity.
    """
    negative = text[i] == 45
    if negative or text[i] == 43:
        i += 1
    w = np.uint64(0)
    kept, seen, q = 0, 0, 0
    dropped = False
    while True:
        c = np.uint8(text[i] - np.uint8(48))
        if c > 9:
            break
        if kept < 19:
            w = w * np.uint64(10) + np.uint64(c)
            kept += w != _U0
        else:
            q += 1
            dropped = True
        seen += 1
        i += 1
    if text[i] == 46:
        i += 1
        while True:
            c = np.uint8(text[i] - np.uint8(48))
            if c > 9:
                break
            if kept < 19:
                w = w * np.uint64(10) + np.uint64(c)
                kept += w != _U0
                q -= 1
            else:
                dropped = True
            seen += 1
            i += 1
    status = GOOD if seen > 0 else BAD
    if text[i] | 32 == 101 and seen > 0:
        i += 1
        down = text[i] == 45
        if down or text[i] == 43:
            i += 1
        e, figures = np.int64(0), 0
        while True:
            c = np.uint8(text[i] - np.uint8(48))
            if c > 9:
                break
            e = e * 10 + int(c) if e < 10000000 else e
            figures += 1
            i += 1
        if figures == 0:
            status = BAD
        q += -e if down else e  # type: ignore[assignment]
    if w < _EXACT and -22 <= q <= 22 and not dropped:
        value = np.float64(w) / TEN[-q] if q < 0 else np.float64(w) * TEN[q]
    else:
        bits[0] = nearest_bits(w, q)
        if dropped and status == GOOD and nearest_bits(w + _U1, q) != bits[0]:
            status = SLOW
        value = real[0]
    return (-value if negative else value), i, status
