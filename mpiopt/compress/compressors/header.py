"""The header of payloads that are not summable: the exponent k of the largest number, an int16.

What follows codes 2⁻ᵏ x, whose largest magnitude is in [1, 2). So huge and denormal vectors need no format of their
own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.compressors.base import Compressor, Payload, Vector
from mpiopt.kernels.stochastic_rounding import largest_exponent, scale_factors

HEADER = 2  # bytes
Parts = Sequence[NDArray[Any]]  # arrays that are joined to a payload
LARGEST_EXPONENT = 1074  # magnitude of a float64's exponent


def with_header(k: int, *parts: NDArray[Any]) -> Payload:
    """Join the exponent and what follows to a payload."""
    return np.concatenate([np.array([k], "<i2").view(np.uint8), *(p.view(np.uint8) for p in parts)])


def read_header(name: str, payload: Payload, d: int, nbytes: int) -> tuple[int, Payload]:
    """Return the exponent and an aligned copy of what follows.

    Raises
    ------
    ValueError
        If the payload does not have `nbytes` bytes, or the exponent is that of no number.
    """
    if payload.size != nbytes:
        raise ValueError(f"{name}: a message of {payload.size} bytes cannot hold {d} numbers, which take {nbytes}")
    k = int(payload[:HEADER].copy().view("<i2")[0])
    if abs(k) > LARGEST_EXPONENT:
        raise ValueError(f"{name}: the message is damaged: its exponent for {d} numbers is {k}")
    return k, payload[HEADER:].copy()


@dataclass(frozen=True)
class ScaledCompressor(Compressor):
    """A compressor of a b x, with a b = 2⁻ᵏ the power of two that brings the largest |x_i| into [1, 2).

    Subclasses code the scaled vector. The power of two comes as two factors, since 2¹⁰⁷⁴ is no float64.
    """

    @abstractmethod
    def encode_scaled(self, x: Vector, a: float, b: float, seed: int) -> Parts:
        """Return the arrays that follow the header, for the vector a b x."""

    @abstractmethod
    def decode_scaled(self, body: Payload, a: float, b: float, d: int) -> Vector:
        """Return a b times the vector that follows the header, shape (d,)."""

    def encode(self, x: Vector, seed: int) -> Payload:
        """Return header and coded vector."""
        k = largest_exponent(x)
        return with_header(k, *self.encode_scaled(x, *scale_factors(-k), seed))

    def decode(self, payload: Payload, d: int) -> Vector:
        """Return the vector."""
        k, body = read_header(self.name, payload, d, int(self.nbytes(d)))
        return self.decode_scaled(body, *scale_factors(k), d)
