"""Random words as a function of (seed, place), so that loops over places vectorise; floats as their 64 bits.

splitmix64 (Steele, Lea, Flood 2014) as a hash of a counter. Whole numbers only: the same words on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_DROPPED = np.uint64(12)
_ONE = np.uint64(1023 << 52)  # the bits of 1.0


def _to_float(typing, bits):  # type: ignore[no-untyped-def]
    """See 64 bits as a float64."""

    def cast(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), cast


def _to_bits(typing, number):  # type: ignore[no-untyped-def]
    """See a float64 as 64 bits."""

    def cast(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.IntType(64))

    return types.uint64(types.float64), cast


float_of: Any = intrinsic(_to_float)
bits_of: Any = intrinsic(_to_bits)


@njit(inline="always")
def _mixed(z: Any) -> Any:
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


@njit(inline="always")
def key_of(seed: Any) -> Any:
    """Give the key of a seed's stream of words; neighbouring seeds have unlike keys."""
    return _mixed(np.uint64(seed) + _STEP)


@njit(inline="always")
def word(key: Any, place: Any) -> Any:
    """Give the uint64 at a place >= 0 of the stream."""
    return _mixed(key + np.uint64(place) * _STEP)


@njit(inline="always")
def uniform(key: Any, place: Any) -> Any:
    """Give a multiple of 2⁻⁵² in [0, 1)."""
    return float_of((word(key, place) >> _DROPPED) | _ONE) - 1.0


@njit(inline="always")
def below(key: Any, place: Any, bound: Any) -> Any:
    """Give a whole number in [0, bound), uniform up to bound / 2⁵²."""
    return np.int64(uniform(key, place) * bound)


def second_seed(seed: int) -> int:
    """Give the seed of a second stream beside that of `seed`, in [0, 2⁶³)."""
    return seed ^ 0x6A09E667F3BCC908
