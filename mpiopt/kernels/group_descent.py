"""Block coordinate descent on a quadratic model with a penalty on the norms of groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.kernel_cache import njit

Vector = NDArray[np.float64]
Places = NDArray[np.int64]


@njit(cache=True, nogil=True)
def descend_in_groups(
    h: Vector,
    g: Vector,
    w: Vector,
    member: Places,
    begin: Places,
    edge: Vector,
    bend: Vector,
    p: Vector,
    hp: Vector,
    sweeps: int,
) -> float:
    """Decrease g·p + ½ pᵀh p + Σ edge_b ‖(w + p)_b‖ by sweeps of proximal steps in each block.

    Parameters
    ----------
    h
        Symmetric, shape (d, d), C-contiguous.
    g, w
        Gradient and model, shape (d,).
    member, begin
        Block b has the unknowns member[begin[b]:begin[b + 1]], shapes (d,) and (blocks + 1,).
    edge, bend
        Penalty of each block, and its largest curvature, shape (blocks,).
    p, hp
        The step and h p, shape (d,); both are changed in place.
    sweeps
        How often each block is visited at most.

    Returns
    -------
    float
        The largest ‖change‖ √bend of the last sweep; 0 at the minimum.
    """
    largest = 0.0
    for _ in range(sweeps):
        largest = 0.0
        for b in range(len(edge)):
            if bend[b] <= 0.0:
                continue
            square = 0.0
            for k in range(begin[b], begin[b + 1]):
                j = member[k]
                free = w[j] + p[j] - (g[j] + hp[j]) / bend[b]
                square += free * free
            norm = np.sqrt(square)
            kept = 1.0 if edge[b] == 0.0 else max(0.0, 1.0 - edge[b] / (bend[b] * norm)) if norm > 0.0 else 0.0
            moved = 0.0
            start = begin[b]
            # The slopes of a block are those before its step: all its changes are found before h p is updated.
            change = np.empty(begin[b + 1] - start)
            for k in range(start, begin[b + 1]):
                j = member[k]
                old = w[j] + p[j]
                change[k - start] = kept * (old - (g[j] + hp[j]) / bend[b]) - old
            for k in range(start, begin[b + 1]):
                j, step = member[k], change[k - start]
                if step != 0.0:
                    p[j] += step
                    if kept == 0.0:
                        p[j] = -w[j]
                    for i in range(len(g)):
                        hp[i] += step * h[j, i]
                    moved += step * step
            largest = max(largest, np.sqrt(moved * bend[b]))
        if largest == 0.0:
            break
    return largest
