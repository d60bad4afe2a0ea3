"""Error compensation for compressed sums: a rank sends only what the others do not know of its vector yet.

Rank k has x_k and a memory h_k; all ranks know the sum H = Σ h_k. Rank k sends C(x_k − h_k), which vanishes as x_k
settles. The goal is Σ x_k; s is `Compressor.shrink`.

    none             Σ C(x_k): unbiased if C is, but the noise stays
    difference       H + Σ C(x_k − h_k),  then h_k += s C(x_k − h_k): unbiased, noise vanishes. K. Mishchenko et al.,
                     DIANA, 2019 (arXiv 1901.09269); C. Philippenko, A. Dieuleveut, Artemis, 2020 (2006.14591)
    error-feedback   h_k += s C(x_k − h_k),  then H: for any contraction s C, biased ones too. P. Richtárik,
                     I. Sokolov, I. Fatkhullin, EF21, NeurIPS 2021 (2106.05203); for unbiased C with s = 1/(1 + ω):
                     L. Condat et al., EF-BV, 2022 (2205.04180)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.allreduce import ExchangedSum
from mpiopt.compress.channel import Channel

Vector = NDArray[np.float64]

MEMORIES = ("none", "difference", "error-feedback")


def update(
    x: Vector, own: Vector, total: Vector, channel: Channel, k: int, stream: int, residual: Vector | None = None
) -> Vector:
    """Estimate Σ x_k in round k from compressed differences; collective.

    Without compression every memory gives the exact sum.

    Parameters
    ----------
    x : ndarray
        x_k, this rank's vector, of any shape.
    own, total : ndarray, shape of x
        h_k and H: zeros at first, updated in place.
    channel : Channel
        The ranks, the compressor and the memory's name.
    k, stream : int
        The round and the number of the random stream, from which the compressor's seed follows.
    residual : ndarray, optional
        See `Channel.compress`.

    Returns
    -------
    ndarray, shape of x
        The estimate, the same bits on all ranks.
    """
    sent = channel.compress((x - own).reshape(-1), k, stream, residual)
    parts = ExchangedSum(*(part.reshape(x.shape) for part in sent))
    return absorb(parts, own, total, channel, x.size).total


def absorb(sent: ExchangedSum, own: Vector, total: Vector, channel: Channel, d: int) -> ExchangedSum:
    """Add C(x_k − h_k) and its sum to the memories; return the estimates of x_k and Σ x_k.

    `d` is how many numbers travelled. It differs from the size of `own` if padding was not sent.
    """
    memory = channel.memory if channel.compresses else "error-feedback"
    s = channel.shrink(d)
    if memory == "none":
        return sent
    if memory == "difference":
        estimate = ExchangedSum(own + sent.own, total + sent.total)
    own += s * sent.own
    total += s * sent.total
    return estimate if memory == "difference" else ExchangedSum(own.copy(), total.copy())
