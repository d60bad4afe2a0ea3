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

from mpiopt.compress.allreduce import ExchangedSum
from mpiopt.compress.channel import Channel

Vector = NDArray[np.float64]

MEMORIES = ("none", "difference", "error-feedback")


def update(
    x: Vector, own: Vector, whole: Vector, channel: Channel, k: int, stream: int, residual: Vector | None = None
) -> Vector:
    """Give the estimate of Σ x_k in round k, the same bits on all ranks; collective.

    `own` (h_k) and `whole` (H) are updated in place; both have the shape of `x` and begin as zeros. Without
    compression every memory gives the exact sum. `residual`: see `Channel.compress`.
    """
    sent = channel.compress((x - own).reshape(-1), k, stream, residual)
    parts = ExchangedSum(*(part.reshape(x.shape) for part in sent))
    return absorb(parts, own, whole, channel, x.size).total


def absorb(sent: ExchangedSum, own: Vector, whole: Vector, channel: Channel, d: int) -> ExchangedSum:
    """Put C(x_k − h_k) and its sum into the memory; give what x_k and Σ x_k are now taken for.

    `d` is how many numbers travelled: other than those of `own` where padding stayed at home.
    """
    memory = channel.memory if channel.compresses else "error-feedback"
    s = channel.shrink(d)
    if memory == "none":
        return sent
    if memory == "difference":
        estimate = ExchangedSum(own + sent.own, whole + sent.total)
    own += s * sent.own
    whole += s * sent.total
    return estimate if memory == "difference" else ExchangedSum(own.copy(), whole.copy())
