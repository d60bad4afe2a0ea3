"""Top-k: the largest magnitudes (Aji, Heafield 2017; Stich, Cordonnier, Jaggi 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Compressor, Vector, Wire, check_share, kept
from mpiopt.compress.compressors.header import HEADER, closed, opened
from mpiopt.kernels import stochastic_rounding, top_k


@dataclass(frozen=True)
class TopK(Compressor):
    """C(x)_i = x_i on the k = share · d largest magnitudes, else 0 (Stich, Cordonnier, Jaggi 2018).

    ω = 1 - k/d, attained by vectors of equal magnitudes. Of equal magnitudes the first are kept.

    Wire: int16 k; the rising places in Elias and Fano's code (`mpiopt.kernels.top_k.code`): ⌊log₂(d/k)⌋ bits each,
    and k + d 2^-⌊log₂(d/k)⌋ bits; their 2⁻ᵏ x_i as float32, with 1 <= max |x_i| 2⁻ᵏ < 2.
    """

    name = "top-k"
    unbiased = False

    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def encode(self, x: Vector, seed: int) -> Wire:
        """Give places and numbers."""
        places = top_k.largest(x, kept(self.share, x.size))
        values = x[places]
        k = stochastic_rounding.exponent(values)
        a, b = stochastic_rounding.factors(-k)
        return closed(k, top_k.code(places, x.size), (values * a * b).astype("<f4"))

    def decode(self, wire: Wire, d: int) -> Vector:
        """Put the numbers in their places."""
        k, rest = opened(self.name, wire, d, int(self.nbytes(d)))
        n = kept(self.share, d)
        places = top_k.decode(rest[: rest.size - 4 * n], n, d)
        if places is None:
            raise ValueError(f"{self.name}: the places in the wire are not {n} rising ones below {d}")
        a, b = stochastic_rounding.factors(k)
        x = np.zeros(d)
        x[places] = rest[rest.size - 4 * n :].copy().view("<f4").astype(np.float64) * a * b
        return x

    def variance(self, d: int) -> float:
        """Give 1 - k/d; 0 for nothing."""
        return 1.0 - kept(self.share, d) / d if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give header, places and numbers."""
        k = kept(self.share, d)
        return float(HEADER + top_k.coded_length(k, d) + 4 * k)
