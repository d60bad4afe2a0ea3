"""Compressors: a vector to few bytes and back; one method each.

    unbiased:  E C(x) = x,  E‖C(x) − x‖² <= ω ‖x‖²,  ω = variance(d)
    biased:    E‖C(x) − x‖² <= ω ‖x‖² with ω < 1

In either case s C with s = shrink(d) is a contraction: E‖s C(x) − x‖² <= (1 − α) ‖x‖², α = contraction(d).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import Plugin

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Payload = NDArray[np.uint8]  # the bytes of a compressed vector
SEED = 8  # bytes of a seed in a payload
FLOAT32_LEAST, FLOAT32_MOST = 2.0**-100, 2.0**128 * (1 - 2.0**-25)  # vectors between them keep float32's digits


@dataclass(frozen=True)
class Compressor(Plugin, ABC):
    """A plug-in that turns a vector into bytes and back.

    A compressor has no state; its randomness is a function of the seed. The bytes say all that is needed to decode
    them, except the dimension d. Their format is in the docstring of the class, little-endian, and never changes:
    `tests/golden` holds bytes of every compressor.

    Attributes
    ----------
    unbiased : bool
        Whether E C(x) = x.
    summable : bool
        Whether sums can be formed without decoding, see `Summable`.

    Examples
    --------
    >>> import numpy as np
    >>> compressor = Compressor.make("top-k", {"share": 0.5})
    >>> payload = compressor.encode(np.array([1.0, -4.0, 2.0, 0.5]), seed=0)
    >>> payload.size, compressor.decode(payload, 4).tolist()
    (12, [0.0, -4.0, 2.0, 0.0])
    """

    unbiased: ClassVar[bool]
    summable: ClassVar[bool] = False

    @abstractmethod
    def encode(self, x: Vector, seed: int) -> Payload:
        """Compress a vector to bytes; the same x and seed give the same bytes on any machine.

        Parameters
        ----------
        x : ndarray of float64, shape (d,)
            Contiguous and finite; d may be 0.
        seed : int
            In [0, 2⁶³).

        Returns
        -------
        ndarray of uint8
            The payload.
        """

    @abstractmethod
    def decode(self, payload: Payload, d: int) -> Vector:
        """Return C(x), shape (d,), from what `encode` returned.

        Raises
        ------
        ValueError
            If the payload cannot be that of a vector of d numbers.
        """

    @abstractmethod
    def variance(self, d: int) -> float:
        """Return the smallest known ω with E‖C(x) − x‖² <= ω ‖x‖² for all x in d dimensions.

        The rounding of numbers that travel as float32 (6e-8 of each) is not in it.
        """

    @abstractmethod
    def nbytes(self, d: int) -> float:
        """Return the expected number of bytes of a vector of d numbers."""

    def shrink(self, d: int) -> float:
        """Return s, by which C(x) is multiplied to get a contraction: 1/(1 + ω) if unbiased, else 1.

        If ω is the worst case and most vectors are far from it, a larger s, up to 2/(1 + ω), is a contraction too.
        """
        return 1.0 / (1.0 + self.variance(d)) if self.unbiased else 1.0

    def contraction(self, d: int) -> float:
        """Return α with E‖s C(x) − x‖² <= (1 − α) ‖x‖², s = shrink(d): s (2 − s (1 + ω)) if unbiased, else 1 − ω."""
        omega, s = self.variance(d), self.shrink(d)
        return s * (2.0 - s * (1.0 + omega)) if self.unbiased else 1.0 - omega

    def typical_contraction(self, d: int) -> float:
        """Return α for a typical vector, one of Gaussian numbers, instead of the worst."""
        return self.shrink(d) if self.unbiased else self.contraction(d)

    def second_moment(self, m: Matrix) -> Matrix | None:
        """Return E[C(x) C(x)ᵀ], (d, d), for a Gaussian x of mean 0 and covariance m; None if no form is known."""
        return None

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Return ω and bits a coordinate in 100 and 1e6 dimensions, with the default options, for `mpiopt list`."""
        plain = cls()
        sizes = {"d=100": 100, "d=1e6": 1_000_000}
        omega = {f"ω {at}": f"{plain.variance(d):.3g}" for at, d in sizes.items()}
        bits = {f"bits {at}": f"{8 * plain.nbytes(d) / d:.3g}" for at, d in sizes.items()}
        kind = ("unbiased" if cls.unbiased else "biased") + (", summable" if cls.summable else "")
        return omega | bits | {"kind": kind}


@dataclass(frozen=True)
class Summable(Compressor):
    """A compressor that is linear once its seed is drawn: C(x) = lift(project(x)).

    If all ranks use one seed, Σ C(x_k) = lift(Σ project(x_k)): the small vectors can be added on their way.

    Wire format: the seed as uint64, then project(x) as float32; as float64 if the largest number is beyond float32 or
    so small that it would lose digits there. The length tells which of the two it is.
    """

    summable: ClassVar[bool] = True

    @abstractmethod
    def project(self, x: Vector, seed: int) -> Vector:
        """Return the numbers that travel, shape (h,); h depends on d and the seed alone."""

    @abstractmethod
    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Return C(x), shape (d,), from a sum of what `project` returned."""

    @abstractmethod
    def count(self, d: int, seed: int) -> int:
        """Return h."""

    def encode(self, x: Vector, seed: int) -> Payload:
        """Return the seed and the projected numbers."""
        values = self.project(x, seed)
        largest = float(np.abs(values).max(initial=0.0))
        kind = "<f4" if largest == 0.0 or FLOAT32_LEAST <= largest < FLOAT32_MOST else "<f8"
        return np.concatenate([np.array([seed], "<u8").view(np.uint8), values.astype(kind).view(np.uint8)])

    def decode(self, payload: Payload, d: int) -> Vector:
        """Read the projected numbers and lift them."""
        seed = int(payload[:SEED].copy().view("<u8")[0]) if payload.size >= SEED else 2**63
        h = self.count(d, seed) if seed < 2**63 else 0
        kinds = {SEED + 4 * h: "<f4", SEED + 8 * h: "<f8"}
        if seed >= 2**63 or payload.size not in kinds:
            raise ValueError(f"{self.name}: a message of {payload.size} bytes cannot hold {d} numbers")
        values = payload[SEED:].copy().view(kinds[payload.size]).astype(np.float64)
        return self.lift(values, d, seed)


def kept_count(share: float, d: int) -> int:
    """Return how many of d numbers are kept: the nearest integer to share · d, at least 1."""
    return min(d, max(1, round(share * d)))


def check_share(name: str, share: float) -> None:
    """Raise ValueError unless the share is in (0, 1]."""
    if not (math.isfinite(share) and 0.0 < share <= 1.0):
        raise ValueError(f"{name}: share must be above 0 and at most 1, not {share}")


def check_one_of(name: str, option: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{name}: {option} must be one of {', '.join(known)}, not {value!r}")


def check_whole(name: str, option: str, value: int, least: int, most: int) -> None:
    """Raise ValueError unless `value` is an integer from `least` to `most`."""
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name}: {option} must be an integer from {least} to {most}, not {value}")
