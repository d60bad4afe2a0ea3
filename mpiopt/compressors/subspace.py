"""Random subspaces: what rand-k and sketch have in common."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.compressors import SEED, Summable, check_share, kept


@dataclass(frozen=True)
class Subspace(Summable):
    """C(x) = (d/h) P x with a random projector P of rank h = share · d and mean (h/d) I: ω = d/h - 1 for every x."""

    unbiased = True

    share: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.name, self.share)

    def count(self, d: int, seed: int) -> int:
        """Give h."""
        return kept(self.share, d)

    def variance(self, d: int) -> float:
        """Give d/h - 1; 0 for nothing."""
        return d / kept(self.share, d) - 1.0 if d else 0.0

    def nbytes(self, d: int) -> float:
        """Give the seed and 4 h."""
        return SEED + 4.0 * kept(self.share, d)
