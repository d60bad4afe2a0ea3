"""Averaged compressed SGD for least squares on streams of rows: the long loop of the study of paper 4.

C. Philippenko, A. Dieuleveut, "Compressed and distributed least-squares regression", JMLR 2024, algorithms 1 and 2:

    g_i = mean over the batch of x (x·w − y)  (or client i's whole gradient),  m_i = C(g_i − h_i) + h_i
    w ← w − γ (1/N) Σ m_i,   h_i ← h_i + α C(g_i − h_i),   w̄ ← the mean of all w so far

A client's compressor is drawn anew each step (kernels/compressed.py), so only its law for the vector at hand counts.
The sketch uses this, which saves h d normal numbers: a random projector P of rank h takes x to
‖x‖ (b u + √(b (1 − b)) v), u = x/‖x‖, b ~ Beta(h/2, (d − h)/2), v uniform on the unit sphere orthogonal to u.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.compressors import SKETCH, apply

FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; infinities and NaN stay what they are


@njit(cache=True, nogil=True, fastmath=FAST)
def _norm(g):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(len(g)):
        total += g[j] * g[j]
    return math.sqrt(total)


@njit(cache=True, nogil=True, fastmath=FAST)
def _sketch(g, rank, normal, part, out):  # type: ignore[no-untyped-def]
    """Give (d/h) P g from standard normal numbers and b = `part`."""
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
def compress(kind, option, g, seed, scratch, normal, part, out):  # type: ignore[no-untyped-def]
    """Write C(g) to `out`; `scratch` as `compressed.scratch` gives it; normal, part: what a sketch draws."""
    if kind == SKETCH:
        _sketch(g, option, normal, part, out)
    else:
        apply(kind, option, g, seed, out, scratch)


@njit(cache=True, nogil=True, fastmath=FAST)
def _batch_gradient(x, y, w, g):  # type: ignore[no-untyped-def]
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
def _whole_gradient(h, w, g):  # type: ignore[no-untyped-def]
    for a in range(len(w)):
        row, total = h[a], 0.0
        for j in range(len(w)):
            total += row[j] * w[j]
        g[a] = total


@njit(cache=True, nogil=True, fastmath=FAST)
def _send(g, memory, rate, total, sent):  # type: ignore[no-untyped-def]
    """Add what a client sent, with its memory if there is one, to the sum."""
    for j in range(len(g)):
        total[j] += sent[j]
    if rate > 0.0:
        for j in range(len(g)):
            total[j] += memory[j]
            memory[j] += rate * sent[j]


@njit(cache=True, nogil=True, fastmath=FAST)
def _move(w, mean, total, step, count):  # type: ignore[no-untyped-def]
    for j in range(len(w)):
        w[j] -= step * total[j]
        mean[j] += (w[j] - mean[j]) / count


@njit(cache=True, nogil=True)
def streamed(
    x: Any, y: Any, method: Any, w: Any, mean: Any, memory: Any, seed: Any, scratch: Any, drawn: Any
) -> None:
    """Do one step for each of the K batches x (K, N, b, d), y (K, N, b) in place.

    method: (kind, option, γ, α or 0, steps done so far); drawn: for a sketch standard normal (K, N, d) and Beta
    (K, N), else empty; w, mean (d,), memory (N, d); seed (1,) int64 grows by one for each vector sent.
    """
    kind, option, gamma, rate, done = method
    normals, parts = drawn
    clients, d = x.shape[1], len(w)
    g, sent, total, spare = np.empty(d), np.empty(d), np.empty(d), np.empty(0)
    for k in range(len(x)):
        total[:] = 0.0
        for i in range(clients):
            _batch_gradient(x[k, i], y[k, i], w, g)
            if rate > 0.0:
                g -= memory[i]
            normal, part = (normals[k, i], parts[k, i]) if len(parts) else (spare, 0.0)
            compress(kind, option, g, seed[0], scratch, normal, part, sent)
            seed[0] += 1
            _send(g, memory[i], rate, total, sent)
        _move(w, mean, total, gamma / clients, done + k + 1)


@njit(cache=True, nogil=True)
def whole(
    steps: int, h: Any, aims: Any, method: Any, w: Any, mean: Any, memory: Any, seed: Any, scratch: Any, drawn: Any
) -> None:
    """Do as `streamed` with the whole gradients H w − a_i of clients that share H; aims: a_i = H w_i (N, d)."""
    kind, option, gamma, rate, done = method
    normals, parts = drawn
    clients, d = len(aims), len(w)
    common, g, sent, total, spare = np.empty(d), np.empty(d), np.empty(d), np.empty(d), np.empty(0)
    for k in range(steps):
        total[:] = 0.0
        _whole_gradient(h, w, common)
        for i in range(clients):
            for j in range(d):
                g[j] = common[j] - aims[i, j] - (memory[i, j] if rate > 0.0 else 0.0)
            normal, part = (normals[k, i], parts[k, i]) if len(parts) else (spare, 0.0)
            compress(kind, option, g, seed[0], scratch, normal, part, sent)
            seed[0] += 1
            _send(g, memory[i], rate, total, sent)
        _move(w, mean, total, gamma / clients, done + k + 1)


@njit(cache=True, nogil=True, fastmath=FAST)
def second_moments(
    begin: int, end: int, gamma: float, curve: Any, noise: Any, growth: Any, state: Any, now: Any
) -> None:
    """Carry E η², E ηA and E A² of each eigen-direction from step `begin` to `end`, A the sum of all η so far.

    η ← (1 − γλ) η + γ ξ,  A ← A + η,  Var ξ = noise + growth E η². curve: λ (d,); growth (d, d); state (3, d) and
    now (d,), the variance of ξ, are changed. That is made anew in each of the first 1000 steps and 1000 times in each
    e-fold of steps later: directions that move faster are in equilibrium.
    """
    keep = 1.0 - gamma * curve
    for k in range(begin, end):
        if k % (1 + k // 1000) == 0:
            now[:] = noise + growth @ state[0]
        for j in range(len(curve)):
            crossed = keep[j] * state[1, j]
            square = keep[j] * keep[j] * state[0, j] + gamma * gamma * now[j]
            state[0, j] = square
            state[2, j] += 2.0 * crossed + square
            state[1, j] = crossed + square
