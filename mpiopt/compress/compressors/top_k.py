"""Top-k: the largest magnitudes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.compress.compressors.base import Compressor, Payload, Vector, check_share, kept_count
from mpiopt.compress.compressors.header import HEADER, read_header, with_header
from mpiopt.kernels import stochastic_rounding, top_k


@dataclass(frozen=True)
class TopK(Compressor):
    """C(x)_i = x_i on the k = share · d largest magnitudes, else 0.

    Aji, Heafield 2017; Stich, Cordonnier, Jaggi 2018.

    ω = 1 - k/d, attained by vectors of equal magnitudes. Of equal magnitudes the first are kept.

    Wire format: int16 k; the increasing indices in Elias-Fano code (`mpiopt.kernels.top_k.encode_increasing`):
    ⌊log₂(d/k)⌋ bits each, and k + d 2^-⌊log₂(d/k)⌋ bits; their 2⁻ᵏ x_i as float32, with 1 <= max |x_i| 2⁻ᵏ < 2.

    Parameters
    ----------
    share : float
        Share of the coordinates that is kept, in (0, 1]; at least one is.
    """

    name = "top-k"
    unbiased = False

    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def encode(self, x: Vector, seed: int) -> Payload:
        """Return indices and numbers."""
        indices = top_k.largest_magnitudes(x, kept_count(self.share, x.size))
        values = x[indices]
        k = stochastic_rounding.largest_exponent(values)  # of fewer numbers than x has, and the same
        a, b = stochastic_rounding.scale_factors(-k)
        return with_header(k, top_k.encode_increasing(indices, x.size), (values * a * b).astype("<f4"))

    def decode(self, payload: Payload, d: int) -> Vector:
        """Return the vector of the numbers at their indices."""
        k, body = read_header(self.name, payload, d, int(self.nbytes(d)))
        n = kept_count(self.share, d)
        indices = top_k.decode_increasing(body[: body.size - 4 * n], n, d)
        if indices is None:
            raise ValueError(
                f"{self.name}: the message is damaged: it does not hold {n} increasing indices below {d}"
            )
        a, b = stochastic_rounding.scale_factors(k)
        x = np.zeros(d)
        x[indices] = body[body.size - 4 * n :].copy().view("<f4").astype(np.float64) * a * b
        return x

    def variance(self, d: int) -> float:
        """Return 1 - k/d; 0 for d = 0."""
        return 1.0 - kept_count(self.share, d) / d if d else 0.0

    def nbytes(self, d: int) -> float:
        """Return the bytes of header, indices and numbers."""
        k = kept_count(self.share, d)
        return float(HEADER + top_k.increasing_bytes(k, d) + 4 * k)
