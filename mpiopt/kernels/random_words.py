"""Random words as a function of (seed, index), so that loops over the index vectorise.

splitmix64 (Steele, Lea, Flood 2014) as a hash of a counter. Integers only: the same words on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.arrays import Scalar
from mpiopt.kernels.bits import float_of

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_DROPPED = np.uint64(12)
_ONE = np.uint64(1023 << 52)  # the bits of 1.0


@njit(inline="always")
def mixed(z: Scalar) -> Any:
    """Mix 64 bits: the finaliser of splitmix64."""
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


@njit(inline="always")
def key_of(seed: Scalar) -> Any:
    """Return the key of a seed's stream of words; neighbouring seeds have unlike keys."""
    return mixed(np.uint64(seed) + _STEP)


@njit(inline="always")
def word(key: Scalar, place: Scalar) -> Any:
    """Return the uint64 at an index >= 0 of the stream."""
    return mixed(key + np.uint64(place) * _STEP)


@njit(inline="always")
def uniform(key: Scalar, place: Scalar) -> Any:
    """Return a multiple of 2⁻⁵² in [0, 1)."""
    return float_of((word(key, place) >> _DROPPED) | _ONE) - 1.0


@njit(inline="always")
def below(key: Scalar, place: Scalar, bound: Scalar) -> Any:
    """Return an integer in [0, bound), uniform up to bound / 2⁵²."""
    return np.int64(uniform(key, place) * bound)


def second_seed(seed: int) -> int:
    """Return the seed of a second stream beside that of `seed`, in [0, 2⁶³)."""
    return seed ^ 0x6A09E667F3BCC908
