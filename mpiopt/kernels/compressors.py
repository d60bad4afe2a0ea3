"""C(x) inside a compiled loop, without bytes: five compressors of Philippenko and Dieuleveut (2024).

Each has the distribution of the class of the same name in `mpiopt.compress.compressors`, and draws the same for the
same seed. The results differ by the rounding to float32 in a message. All have the signature
(parameter, x, seed, out, scratch); `apply` takes the number of the compressor first. With neighbouring seeds the
draws are independent.

    number         parameter                                     C(x)
    NONE           –                                             x
    QUANTISED      levels s; 2-norm over the vector              ‖x‖/s (⌊s x_i/‖x‖ + u_i⌋), u uniform in [0, 1)
    SPARSIFIED     share p                                       x_i/p with probability p, each coordinate by itself
    RAND_K         k                                             (d/k) x on k coordinates
    PARTICIPATION  share p                                       x/p with probability p

The sixth, the sketch, is in `mpiopt.kernels.averaged_sgd`, where a law of few numbers replaces the projector.
"""

from __future__ import annotations

import math

import numpy as np

from mpiopt.kernels.arrays import Vector
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.random_subsets import floyd
from mpiopt.kernels.random_words import key_of, uniform

NONE, QUANTISED, SPARSIFIED, RAND_K, PARTICIPATION = range(5)


def scratch(number: int, parameter: float, d: int) -> Vector:
    """Return the working memory that a compressor needs in every call: zeros at first, any shape.

    Parameters
    ----------
    number : int
        NONE … PARTICIPATION.
    parameter : float
        The compressor's parameter.
    d : int
        Length of the vectors.
    """
    return np.zeros((d + 63) // 64 + int(parameter) if number == RAND_K else 0)


@njit(cache=True, nogil=True, error_model="numpy")
def none(parameter: float, x: Vector, seed: int, out: Vector, scratch: Vector) -> None:
    """Write x to `out`."""
    for i in range(len(x)):
        out[i] = x[i]


@njit(cache=True, nogil=True, error_model="numpy")
def quantised(parameter: float, x: Vector, seed: int, out: Vector, scratch: Vector) -> None:
    """Round x to multiples of ‖x‖/s, up or down at random."""
    key, norm = key_of(seed), 0.0
    for i in range(len(x)):
        norm += x[i] * x[i]
    norm = math.sqrt(norm)
    up, down = (parameter / norm if norm > 0.0 else 0.0), norm / parameter
    for i in range(len(x)):
        out[i] = math.floor(x[i] * up + uniform(key, i)) * down


@njit(cache=True, nogil=True, error_model="numpy")
def sparsified(parameter: float, x: Vector, seed: int, out: Vector, scratch: Vector) -> None:
    """Keep each coordinate with probability p."""
    key, factor = key_of(seed), 1.0 / parameter
    for i in range(len(x)):
        out[i] = x[i] * factor if uniform(key, i) < parameter else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def rand_k(parameter: float, x: Vector, seed: int, out: Vector, scratch: Vector) -> None:
    """Keep k coordinates."""
    d, k = len(x), np.int64(parameter)
    marks, places = scratch.view(np.uint64)[:-k], scratch.view(np.int64)[-k:]
    floyd(d, seed, marks, places)
    for i in range(d):
        out[i] = 0.0
    for i in range(k):
        out[places[i]] = x[places[i]] * (d / k)


@njit(cache=True, nogil=True, error_model="numpy")
def participation(parameter: float, x: Vector, seed: int, out: Vector, scratch: Vector) -> None:
    """Keep all of x with probability p, else nothing."""
    factor = 1.0 / parameter if uniform(key_of(seed), 0) < parameter else 0.0
    for i in range(len(x)):
        out[i] = x[i] * factor


@njit(cache=True, nogil=True, error_model="numpy")
def apply(number: int, parameter: float, x: Vector, seed: int, out: Vector, scratch: Vector) -> None:
    """Write C(x) to `out`.

    Parameters
    ----------
    number : int
        NONE … PARTICIPATION.
    parameter : float
        The compressor's parameter, see above.
    x, out : ndarray, shape (d,)
        They do not overlap.
    seed : int
        The draw.
    scratch : ndarray
        What the function `scratch` returned for this compressor and d.
    """
    if number == QUANTISED:
        quantised(parameter, x, seed, out, scratch)
    elif number == SPARSIFIED:
        sparsified(parameter, x, seed, out, scratch)
    elif number == RAND_K:
        rand_k(parameter, x, seed, out, scratch)
    elif number == PARTICIPATION:
        participation(parameter, x, seed, out, scratch)
    else:
        none(parameter, x, seed, out, scratch)
