"""Averaged compressed SGD for least squares on streams of rows: the long loop of the compression study.

C. Philippenko, A. Dieuleveut, "Compressed and distributed least-squares regression", JMLR 2024, algorithms 1 and 2:

    g_i = mean over the batch of x (x·w − y)  (or client i's whole gradient),  m_i = C(g_i − h_i) + h_i
    w ← w − γ (1/N) Σ m_i,   h_i ← h_i + α C(g_i − h_i),   w̄ ← the mean of all w so far

A client's compressor is drawn anew in each step (`mpiopt.kernels.compressors`), so that only its distribution for
the given vector matters. The sketch uses this and saves h d normal numbers: a random projector P of rank h maps x to
‖x‖ (b u + √(b (1 − b)) v), u = x/‖x‖, b ~ Beta(h/2, (d − h)/2), v uniform on the unit sphere orthogonal to u.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.compressors import apply
from mpiopt.kernels.kernel_cache import njit

FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; infinities and NaN keep their meaning
SKETCH = 5  # the number of the sketch, after those of `mpiopt.kernels.compressors`
HELD_STEPS = 1000  # of `second_moments`: the variance of the noise is exact in so many steps of each e-fold
Vector = NDArray[np.float64]


class SgdMethod(NamedTuple):
    """The compressor and the step sizes of a run."""

    kind: int  # number of the compressor in `mpiopt.kernels.compressors`, or SKETCH
    option: float  # its parameter
    gamma: float  # γ
    rate: float  # α of the memories; 0: no memories
    done: int  # steps before this call


class SgdIterate(NamedTuple):
    """What a run changes in place; N clients, d features."""

    w: Vector  # (d,)
    mean: Vector  # (d,) w̄
    memory: Vector  # (N, d) h_i
    seed: NDArray[np.int64]  # (1,) of the next vector that is sent; it grows by one for each
    scratch: Vector  # working memory of the compressor, as `compressors.scratch` makes it


class SketchDraws(NamedTuple):
    """The random numbers of the sketches of K steps; both empty for any other compressor."""

    normals: Vector  # (K, N, d) standard normal
    parts: Vector  # (K, N) Beta(h/2, (d − h)/2)


class MomentRecursion(NamedTuple):
    """η ← (1 − γλ) η + γ ξ with Var ξ = noise + growth E η², in the eigen-directions of H."""

    gamma: float  # γ
    curve: Vector  # (d,) λ
    noise: Vector  # (d,)
    growth: Vector  # (d, d)


@njit(cache=True, nogil=True, fastmath=FAST)
def _norm(g: Vector) -> float:
    total = 0.0
    for j in range(len(g)):
        total += g[j] * g[j]
    return math.sqrt(total)


@njit(cache=True, nogil=True, fastmath=FAST)
def _sketch(g: Vector, rank: float, normal: Vector, part: float, out: Vector) -> None:
    """Write (d/h) P g to `out`, from standard normal numbers and b = `part`."""
    norm = _norm(g)
    if norm == 0.0:
        out[:] = 0.0
        return
    along = 0.0
    for j in range(len(g)):
        along += normal[j] * g[j]
    along /= norm * norm
    across = 0.0
    for j in range(len(g)):
        out[j] = normal[j] - along * g[j]
        across += out[j] * out[j]
    scale = len(g) / rank
    across = scale * norm * math.sqrt(part * (1.0 - part) / across)
    for j in range(len(g)):
        out[j] = scale * part * g[j] + across * out[j]


@njit(cache=True, nogil=True)
def compress(
    g: Vector, method: SgdMethod, iterate: SgdIterate, draws: SketchDraws, k: int, i: int, out: Vector
) -> None:
    """Write C(g), shape (d,), of client i in step k to `out`."""
    if method.kind == SKETCH:
        _sketch(g, method.option, draws.normals[k, i], draws.parts[k, i], out)
    else:
        apply(method.kind, method.option, g, iterate.seed[0], out, iterate.scratch)
    iterate.seed[0] += 1


@njit(cache=True, nogil=True, fastmath=FAST)
def _batch_gradient(x: Vector, y: Vector, w: Vector, g: Vector) -> None:
    """Write the mean of x_s (x_s·w − y_s) over the rows x (b, d) to g (d,)."""
    g[:] = 0.0
    for s in range(len(y)):
        row = x[s]
        r = -y[s]
        for j in range(len(w)):
            r += row[j] * w[j]
        r /= len(y)
        for j in range(len(w)):
            g[j] += r * row[j]


@njit(cache=True, nogil=True, fastmath=FAST)
def _whole_gradient(h: Vector, w: Vector, g: Vector) -> None:
    """Write H w to g."""
    for a in range(len(w)):
        row, total = h[a], 0.0
        for j in range(len(w)):
            total += row[j] * w[j]
        g[a] = total


@njit(cache=True, nogil=True, fastmath=FAST)
def _send(memory: Vector, rate: float, total: Vector, sent: Vector) -> None:
    """Add what a client sent to the sum, and bring its memory, if it has one, up to date."""
    for j in range(len(total)):
        total[j] += sent[j]
    if rate > 0.0:
        for j in range(len(total)):
            total[j] += memory[j]
            memory[j] += rate * sent[j]


@njit(cache=True, nogil=True, fastmath=FAST)
def _move(w: Vector, mean: Vector, total: Vector, step: float, count: int) -> None:
    """Move w along the sum, and update the mean of `count` iterates."""
    for j in range(len(w)):
        w[j] -= step * total[j]
        mean[j] += (w[j] - mean[j]) / count


@njit(cache=True, nogil=True)
def stream_steps(x: Vector, y: Vector, method: SgdMethod, iterate: SgdIterate, draws: SketchDraws) -> None:
    """Do one step for each of K batches of rows, in place.

    Parameters
    ----------
    x, y
        Rows (K, N, b, d) and targets (K, N, b): b rows of each of N clients in each step.
    method
        Compressor and step sizes.
    iterate
        Changed in place.
    draws
        Random numbers for the K steps.
    """
    w, memory, rate = iterate.w, iterate.memory, method.rate
    clients, d = x.shape[1], len(w)
    g, sent, total = np.empty(d), np.empty(d), np.empty(d)
    for k in range(len(x)):
        total[:] = 0.0
        for i in range(clients):
            _batch_gradient(x[k, i], y[k, i], w, g)
            if rate > 0.0:
                g -= memory[i]
            compress(g, method, iterate, draws, k, i, sent)
            _send(memory[i], rate, total, sent)
        _move(w, iterate.mean, total, method.gamma / clients, method.done + k + 1)


@njit(cache=True, nogil=True)
def whole_gradient_steps(
    steps: int, h: Vector, targets: Vector, method: SgdMethod, iterate: SgdIterate, draws: SketchDraws
) -> None:
    """Do steps with the whole gradients H w − a_i of clients that share H, in place.

    Parameters
    ----------
    steps
        K, the number of steps.
    h
        H, shape (d, d).
    targets
        a_i = H w_i, shape (N, d), w_i the optimum of client i.
    method, iterate, draws
        As in `stream_steps`.
    """
    w, memory, rate = iterate.w, iterate.memory, method.rate
    clients, d = len(targets), len(w)
    common, g, sent, total = np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    for k in range(steps):
        total[:] = 0.0
        _whole_gradient(h, w, common)
        for i in range(clients):
            for j in range(d):
                g[j] = common[j] - targets[i, j] - (memory[i, j] if rate > 0.0 else 0.0)
            compress(g, method, iterate, draws, k, i, sent)
            _send(memory[i], rate, total, sent)
        _move(w, iterate.mean, total, method.gamma / clients, method.done + k + 1)


@njit(cache=True, nogil=True, fastmath=FAST)
def second_moments(begin: int, end: int, recursion: MomentRecursion, state: Vector, now: Vector) -> None:
    """Advance E η², E ηA and E A² of each eigen-direction from step `begin` to step `end`, A the sum of all η so far.

    Var ξ is computed in each of the first HELD_STEPS steps, and HELD_STEPS times in each e-fold of steps later.
    Directions that move faster are in equilibrium.

    Parameters
    ----------
    begin, end
        Numbers of the first step and of the step after the last.
    recursion
        How η changes.
    state
        E η², E ηA, E A², shape (3, d); changed in place.
    now
        Var ξ, shape (d,); changed in place.
    """
    gamma, curve, noise, growth = recursion
    keep = 1.0 - gamma * curve
    for k in range(begin, end):
        if k % (1 + k // HELD_STEPS) == 0:
            now[:] = noise + growth @ state[0]
        for j in range(len(curve)):
            crossed = keep[j] * state[1, j]
            square = keep[j] * keep[j] * state[0, j] + gamma * gamma * now[j]
            state[0, j] = square
            state[2, j] += 2.0 * crossed + square
            state[1, j] = crossed + square
