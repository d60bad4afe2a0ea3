"""Memories of compressed sums: what all ranks already know of a rank's vector need not be sent again.

Rank k has x_k and remembers h_k, of which all know the sum H = Σ h_k. It sends C(x_k − h_k), which vanishes as x_k
settles. Wanted is Σ x_k; s is `Compressor.shrink`.

    none             Σ C(x_k): unbiased where C is, but its noise stays
    difference       H + Σ C(x_k − h_k),  then h_k += s C(x_k − h_k): unbiased, noise vanishes. K. Mishchenko et al.,
                     DIANA, 2019 (arXiv 1901.09269); C. Philippenko, A. Dieuleveut, Artemis, 2020 (2006.14591)
    error-feedback   h_k += s C(x_k − h_k),  then H: for any contraction s C, biased ones too. P. Richtárik,
                     I. Sokolov, I. Fatkhullin, EF21, NeurIPS 2021 (2106.05203); for unbiased C with s = 1/(1 + ω):
                     L. Condat et al., EF-BV, 2022 (2205.04180)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.channel import Channel

Vector = NDArray[np.float64]

MEMORIES = ("none", "difference", "error-feedback")


def update(
    x: Vector, own: Vector, whole: Vector, channel: Channel, k: int, stream: int, residual: Vector | None = None
) -> Vector:
    """Give the estimate of Σ x_k in round k, the same bits on all ranks; collective.

    `own` (h_k) and `whole` (H) are updated in place; all have the shape of `x`. Without compression all memories give
    the exact sum and leave h_k = x_k. `residual`: see `Channel.compress`.
    """
    memory = channel.memory
    if memory == "none" or not channel.compresses:
        sent = channel.compress(x.reshape(-1), k, stream, residual)
        own[...], whole[...] = sent.own.reshape(x.shape), sent.total.reshape(x.shape)
        return np.array(whole)
    sent = channel.compress((x - own).reshape(-1), k, stream, residual)
    s, total = channel.shrink(x.size), sent.total.reshape(x.shape)
    estimate = whole + (total if memory == "difference" else s * total)
    own += s * sent.own.reshape(x.shape)
    whole += s * total
    return np.asarray(estimate)
