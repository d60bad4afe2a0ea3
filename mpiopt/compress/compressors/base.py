"""Compressors: a vector to few bytes and back; one file each.

    unbiased:  E C(x) = x,  E‖C(x) − x‖² <= ω ‖x‖²,  ω = variance(d)
    biased:    E‖C(x) − x‖² <= ω ‖x‖² with ω < 1

so that s C with s = shrink(d) is a contraction in either case: E‖s C(x) − x‖² <= (1 − α) ‖x‖², α = contraction(d).
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
Wire = NDArray[np.uint8]
SEED = 8  # bytes of a seed on the wire
TINY, HUGE = 2.0**-100, 2.0**128 * (1 - 2.0**-25)  # float32 holds all of its digits for largest numbers between them


@dataclass(frozen=True)
class Compressor(Plugin, ABC):
    """A plug-in that turns a vector into bytes that say all that is needed to decode them, but its dimension d.

    A compressor has no state; its randomness is a function of the seed. The wire format is in the class's docstring,
    little-endian, and never changes: `tests/golden` holds bytes of every member.
    """

    unbiased: ClassVar[bool]
    summable: ClassVar[bool] = False  # see `Summable`

    @abstractmethod
    def encode(self, x: Vector, seed: int) -> Wire:
        """Give C(x) as bytes; `x` is flat, contiguous, finite, of any d >= 0; `seed` is a whole number in [0, 2⁶³).

        The same x and seed give the same bytes on any machine.
        """

    @abstractmethod
    def decode(self, wire: Wire, d: int) -> Vector:
        """Give C(x), a vector of d numbers, from what `encode` gave.

        Raises
        ------
        ValueError
            If the wire cannot be that of a vector of d numbers.
        """

    @abstractmethod
    def variance(self, d: int) -> float:
        """Give the smallest known ω with E‖C(x) − x‖² <= ω ‖x‖² for all x in d dimensions.

        Where numbers travel as float32, their rounding (6e-8 of each) is not in it.
        """

    @abstractmethod
    def nbytes(self, d: int) -> float:
        """Give the expected length of the wire of a vector of d numbers."""

    def shrink(self, d: int) -> float:
        """Give s, by which C(x) is multiplied where a contraction is needed: 1/(1 + ω) if unbiased, else 1.

        Where ω is the worst case and most vectors are far from it, a larger s, up to 2/(1 + ω), is a contraction too.
        """
        return 1.0 / (1.0 + self.variance(d)) if self.unbiased else 1.0

    def contraction(self, d: int) -> float:
        """Give α with E‖s C(x) − x‖² <= (1 − α) ‖x‖², s = shrink(d): s (2 − s (1 + ω)) if unbiased, else 1 − ω."""
        omega, s = self.variance(d), self.shrink(d)
        return s * (2.0 - s * (1.0 + omega)) if self.unbiased else 1.0 - omega

    def typical_contraction(self, d: int) -> float:
        """Give the part of a usual vector, not of the worst, that s C(x) lets through: α for Gaussian numbers."""
        return self.shrink(d) if self.unbiased else self.contraction(d)

    def second_moment(self, m: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Give E[C(x) C(x)ᵀ] for a Gaussian x of mean 0 and covariance m, (d, d); None if no form is known."""
        return None

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Give ω and bits a coordinate in 100 and 1e6 dimensions, with the default options."""
        plain = cls()
        sizes = {"d=100": 100, "d=1e6": 1_000_000}
        omega = {f"ω {at}": f"{plain.variance(d):.3g}" for at, d in sizes.items()}
        bits = {f"bits {at}": f"{8 * plain.nbytes(d) / d:.3g}" for at, d in sizes.items()}
        kind = ("unbiased" if cls.unbiased else "biased") + (", summable" if cls.summable else "")
        return omega | bits | {"kind": kind}


@dataclass(frozen=True)
class Summable(Compressor):
    """A compressor that is linear once its seed is drawn: C(x) = lift(project(x)).

    Where all ranks use one seed, Σ C(x_k) = lift(Σ project(x_k)): the small vectors can be added on their way.

    Wire: the seed as uint64, then project(x) as float32; as float64 where the largest number is beyond float32 or so
    small that it would lose digits there. The length tells which of the two it is.
    """

    summable: ClassVar[bool] = True

    @abstractmethod
    def project(self, x: Vector, seed: int) -> Vector:
        """Give the numbers that travel, shape (h,); h depends on d and the seed alone."""

    @abstractmethod
    def lift(self, values: Vector, d: int, seed: int) -> Vector:
        """Give C(x), shape (d,), from the sum of what `project` gave."""

    @abstractmethod
    def count(self, d: int, seed: int) -> int:
        """Give h."""

    def encode(self, x: Vector, seed: int) -> Wire:
        """Give the seed and the projected numbers."""
        values = self.project(x, seed)
        largest = float(np.abs(values).max(initial=0.0))
        kind = "<f4" if largest == 0.0 or TINY <= largest < HUGE else "<f8"
        return np.concatenate([np.array([seed], "<u8").view(np.uint8), values.astype(kind).view(np.uint8)])

    def decode(self, wire: Wire, d: int) -> Vector:
        """Lift what was projected."""
        seed = int(wire[:SEED].copy().view("<u8")[0]) if wire.size >= SEED else 2**63
        h = self.count(d, seed) if seed < 2**63 else 0
        kinds = {SEED + 4 * h: "<f4", SEED + 8 * h: "<f8"}
        if seed >= 2**63 or wire.size not in kinds:
            raise ValueError(f"{self.name}: a wire of {wire.size} bytes is not one of {d} numbers")
        values = wire[SEED:].copy().view(kinds[wire.size]).astype(np.float64)
        return self.lift(values, d, seed)


def kept(share: float, d: int) -> int:
    """Give how many of d numbers are kept: the nearest whole number to share · d, at least 1."""
    return min(d, max(1, round(share * d)))


def check_share(name: str, share: float) -> None:
    """Refuse a share that is none.

    Raises
    ------
    ValueError
        If it is not in (0, 1].
    """
    if not (math.isfinite(share) and 0.0 < share <= 1.0):
        raise ValueError(f"{name}: share must be above 0 and at most 1, not {share}")


def check_one_of(name: str, option: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not known.

    Raises
    ------
    ValueError
        If `value` is none of `known`.
    """
    if value not in known:
        raise ValueError(f"{name}: {option} is one of {', '.join(known)}, not {value!r}")


def check_whole(name: str, option: str, value: int, least: int, most: int) -> None:
    """Refuse a number outside a range.

    Raises
    ------
    ValueError
        If `value` is not a whole number from `least` to `most`.
    """
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name}: {option} is a whole number from {least} to {most}, not {value}")
