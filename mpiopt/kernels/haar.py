"""Random orthogonal matrices by reflections (Stewart 1980): h of them take a vector to h coordinates of a Haar frame.

Reflection j acts on the coordinates from j on and takes a Gaussian vector there to the axis j, with the sign that
makes the triangle of the QR factorisation positive. So the first h coordinates of `rotate` are Qᵀx with the
orthonormal basis Q of the span of h Gaussian vectors; with h = d the matrix has the Haar measure. Logarithm and sine
are sums and products in a fixed order: the same bits on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mpiopt.kernels.arrays import Matrix, Scalar, Vector
from mpiopt.kernels.bits import bits_of, float_of
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.random_words import key_of, word

_ONE, _HALF_UP = np.uint64(1023 << 52), np.uint64(0x95F6400000000)  # the latter carries mantissas from √2 on to 2
_MANTISSA = np.uint64((1 << 52) - 1)
_1, _12, _52, _63 = np.uint64(1), np.uint64(12), np.uint64(52), np.uint64(63)
_LN2, _QUARTER = math.log(2.0), math.pi / 2


@njit(inline="always")
def _log(u: Scalar) -> Any:
    """Compute ln u of a normal number u > 0: u = 2ᵉ m, m in [√½, √2), ln m = 2 artanh((m - 1)/(m + 1))."""
    shifted = bits_of(u) + _HALF_UP
    e = np.float64(np.int64(shifted >> _52) - 1023)
    m = float_of((shifted & _MANTISSA) + (_ONE - _HALF_UP))
    z = (m - 1.0) / (m + 1.0)
    s = z * z
    p = 1 / 15 + s * (1 / 17 + s * (1 / 19 + s * (1 / 21)))
    p = 1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s * (1 / 13 + s * p)))))
    return e * _LN2 + 2.0 * (z + z * s * p)


@njit(inline="always")
def _sine(a: Scalar) -> Any:
    """Compute sin a for |a| <= π/4."""
    s = a * a
    p = 1 / 362880 - s * (1 / 39916800 - s * (1 / 6227020800 - s / 1307674368000))
    return a - a * s * (1 / 6 - s * (1 / 120 - s * (1 / 5040 - s * p)))


@njit(inline="always")
def _cosine(a: Scalar) -> Any:
    """Compute cos a for |a| <= π/4."""
    s = a * a
    p = 1 / 40320 - s * (1 / 3628800 - s * (1 / 479001600 - s * (1 / 87178291200 - s / 20922789888000)))
    return 1.0 - s * (0.5 - s * (1 / 24 - s * (1 / 720 - s * p)))


@njit(cache=True, nogil=True, error_model="numpy")
def normals(key: Scalar, first: int, out: Vector) -> None:
    """Fill `out` with standard normal numbers from the words from 2 `first` on, in pairs (Box, Muller 1958)."""
    half = (len(out) + 1) // 2
    for i in range(half):
        one, two = word(key, 2 * (first + i)), word(key, 2 * (first + i) + 1)
        r = math.sqrt(-2.0 * _log(1.0 - (float_of((one >> _12) | _ONE) - 1.0)))
        a = (float_of(((two << _1) >> _12) | _ONE) - 1.5) * _QUARTER  # in [-π/4, π/4); the quadrant: two bits
        c, s = r * _cosine(a), r * _sine(a)
        turned, sign = (one & _1) != 0, (1.0 if two >> _63 == 0 else -1.0)
        out[i] = sign * (s if turned else c)
        if half + i < len(out):
            out[half + i] = sign * (c if turned else s)


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(a: Vector, b: Vector, begin: int) -> float:
    """Compute Σ a_i b_i from `begin` on, in eight sums."""
    whole = begin + (len(b) - begin) // 8 * 8
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for i in range(begin, whole, 8):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        s4 += a[i + 4] * b[i + 4]
        s5 += a[i + 5] * b[i + 5]
        s6 += a[i + 6] * b[i + 6]
        s7 += a[i + 7] * b[i + 7]
    for i in range(whole, len(b)):
        s0 += a[i] * b[i]
    return ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))


@njit(cache=True, nogil=True, error_model="numpy")
def reflections(seed: Scalar, v: Matrix) -> None:
    """Fill v, (h, d) with h <= d: reflection j is y ↦ y - v_j (v_j · y), v_j = 0 before its index j."""
    key, (h, d) = key_of(seed), v.shape
    for j in range(h):
        row = v[j]
        normals(key, j * d, row[j:])
        row[:j] = 0.0
        norm = math.sqrt(_dot(row, row, j))
        lead = abs(row[j])
        scale = 1.0 / math.sqrt(norm * (norm + lead))  # √2 / ‖v‖
        row[j] += norm if row[j] > 0.0 else -norm
        for i in range(j, d):
            row[i] *= scale


@njit(cache=True, nogil=True, error_model="numpy")
def _reflect(row: Vector, j: int, y: Vector) -> None:
    """Reflect y in place; the row is 0 before index j."""
    along = _dot(row, y, j)
    for i in range(j, len(y)):
        y[i] -= along * row[i]


@njit(cache=True, nogil=True, error_model="numpy")
def rotate(v: Matrix, y: Vector) -> None:
    """Rotate y (d,) in place by the reflections v (h, d)."""
    for j in range(v.shape[0]):
        _reflect(v[j], j, y)
        if v[j, j] > 0.0:
            y[j] = -y[j]


@njit(cache=True, nogil=True, error_model="numpy")
def rotate_back(v: Matrix, y: Vector) -> None:
    """Undo `rotate`."""
    for j in range(v.shape[0] - 1, -1, -1):
        if v[j, j] > 0.0:
            y[j] = -y[j]
        _reflect(v[j], j, y)


def reflections_of(seed: int, h: int, d: int) -> Vector:
    """Return the h reflections of a seed in d dimensions, shape (h, d)."""
    v = np.empty((h, d))
    reflections(seed, v)
    return v
