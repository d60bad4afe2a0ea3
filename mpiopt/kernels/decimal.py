"""Decimal text to the nearest float64, rounded as `float` rounds it, in compiled code.

Clinger's fast path, then the algorithm of Eisel and Lemire (D. Lemire, "Number parsing at a gigabyte per second",
2021; no fallback is needed for up to 19 digits: Mushtak and Lemire, 2023).
"""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.bits import float_of, load_byte
from mpiopt.kernels.kernel_cache import njit

LOWEST, HIGHEST = -342, 308  # powers of ten beyond which a 19-digit number is 0 or infinite
VALID = 0
INVALID = 1  # not a number
UNDECIDED = 2  # of more than 19 digits: only `float` computes the last bit
TOO_LARGE = 3
NO_EXPONENT = -(1 << 30)  # an e without digits after it
MINUS, PLUS, POINT, ZERO, LETTER_E = ord("-"), ord("+"), ord("."), ord("0"), ord("e")
LOWER = 32  # the bit that makes an ASCII letter lower case


def _power_of_five(q: int) -> tuple[int, int]:
    """Return the upper 128 bits of 5^q as two words."""
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
    """Return the high and the low word of a 64 × 64 bit product."""
    a0, a1, b0, b1 = a & _MASK32, a >> _U32, b & _MASK32, b >> _U32
    low = a0 * b0
    middle = a1 * b0 + (low >> _U32)
    cross = a0 * b1 + (middle & _MASK32)
    return a1 * b1 + (middle >> _U32) + (cross >> _U32), (cross << _U32) | (low & _MASK32)


@njit(cache=True, nogil=True)
def _leading_zeros(w):  # type: ignore[no-untyped-def]
    """Count the leading zeros of a uint64 that is not 0."""
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if w >> np.uint64(64 - step) == _U0:
            zeros += step
            w = w << np.uint64(step)
    return zeros


@njit(cache=True, nogil=True)
def nearest_bits(w, q):  # type: ignore[no-untyped-def]
    """Return the bits of the float64 nearest to w · 10^q, for a uint64 w and an int64 q."""
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
        mantissa = mantissa - _U1  # exactly half way: round to even
    mantissa = (mantissa + (mantissa & _U1)) >> _U1
    if mantissa >= _EXACT:
        mantissa = _HIDDEN
        power += 1
    if power >= 2047:
        return _INFINITE
    return (mantissa - _HIDDEN) | (np.uint64(power) << np.uint64(52))


@njit(cache=True, nogil=True)
def _subnormal(mantissa, power):  # type: ignore[no-untyped-def]
    """Return the bits of a number below the normal ones."""
    if 1 - power >= 64:
        return _U0
    mantissa = mantissa >> np.uint64(1 - power)
    return (mantissa + (mantissa & _U1)) >> _U1  # a carry into the exponent gives the smallest normal number


@njit(cache=True, nogil=True, inline="always")
def read_digits(w, i):  # type: ignore[no-untyped-def]
    """Append the digits at address `i` to the number `w` (uint64); return both after them."""
    while True:
        c = np.uint8(load_byte(i) - np.uint8(ZERO))
        if c > 9:
            break
        w = w * np.uint64(10) + np.uint64(c)
        i += 1
    return w, i


@njit(cache=True, nogil=True)
def _many_digits(i):  # type: ignore[no-untyped-def]
    """Return the first 19 significant digits at address `i`, their power of ten, and whether a digit was dropped."""
    w, kept, q = np.uint64(0), 0, 0
    dropped, after = False, False
    while True:
        c = np.uint8(load_byte(i) - np.uint8(ZERO))
        if c > 9:
            if after or load_byte(i) != POINT:
                return w, q, dropped
            after = True
        elif kept < 19:
            w = w * np.uint64(10) + np.uint64(c)
            kept += w != _U0
            q -= after
        else:
            q += not after
            dropped |= c != 0
        i += 1


@njit(cache=True, nogil=True)
def _slow_path(begin, w, digits, q, exponent):  # type: ignore[no-untyped-def]
    """Return value and status of a number for which one multiplication is not enough."""
    dropped = False
    if digits > 19:
        w, q, dropped = _many_digits(begin)
    bits = nearest_bits(w, q + exponent)
    if dropped and nearest_bits(w + _U1, q + exponent) != bits:
        return float_of(bits), UNDECIDED
    return float_of(bits), (VALID if bits < _INFINITE else TOO_LARGE)


@njit(cache=True, nogil=True)
def _exponent(i):  # type: ignore[no-untyped-def]
    """Read the exponent after an e: its value (NO_EXPONENT without digits), and the address after it."""
    down = load_byte(i) == MINUS
    if down or load_byte(i) == PLUS:
        i += 1
    begin, e = i, np.int64(0)
    while True:
        c = np.uint8(load_byte(i) - np.uint8(ZERO))
        if c > 9:
            break
        e = e * 10 + np.int64(c) if e < 10000000 else e
        i += 1
    if i == begin:
        return NO_EXPONENT, i
    return (-e if down else e), i


@njit(cache=True, nogil=True, inline="always")
def parse_number(i):  # type: ignore[no-untyped-def]
    """Read a decimal number at address `i`; a byte that ends any number must follow.

    Letters (nan, inf) are INVALID.

    Returns
    -------
    value : float64
        The number; only `float` computes the last bit if UNDECIDED.
    after : int64
        The address after it.
    status : int
        VALID, INVALID, UNDECIDED or TOO_LARGE.
    """
    negative = load_byte(i) == MINUS
    if negative or load_byte(i) == PLUS:
        i += 1
    w, begin, q, exponent = np.uint64(0), i, 0, np.int64(0)
    w, i = read_digits(w, i)
    digits = i - begin
    if load_byte(i) == POINT:
        i += 1
        point = i
        w, i = read_digits(w, i)
        q = point - i
        digits -= q
    status = VALID if digits > 0 else INVALID
    if load_byte(i) | LOWER == LETTER_E:
        exponent, i = _exponent(i + 1)
        if exponent == NO_EXPONENT:
            status = INVALID
    power = q + exponent
    if digits <= 19 and w < _EXACT and -22 <= power <= 22:
        value = np.float64(w) / TEN[-power] if power < 0 else np.float64(w) * TEN[power]
    elif status == VALID:
        value, status = _slow_path(begin, w, digits, q, exponent)
    else:
        value = 0.0
    return (-value if negative else value), i, status
