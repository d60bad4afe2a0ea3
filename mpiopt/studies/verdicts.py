"""Facts that a study checks, and their verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

SURE = (
    0.9  # share of the comparisons above which the whole interval lies: then the claim holds, in spite of exceptions
)
QUANTILE = 1.96  # of the normal distribution: intervals of 95 %


class Comparison(NamedTuple):
    """One comparison of an outcome with what was expected."""

    holds: bool
    text: str


class Fact(NamedTuple):
    """A claim with the comparisons that support or contradict it."""

    label: str  # (a), (b), … in tables and pages
    claim: str
    comparisons: list[Comparison]
    source: str = ""  # whose claim it is: the paper's and where, or ours
    by_seed: tuple[tuple[int, int], ...] = ()  # held and all comparisons of each seed, if there were several

    @property
    def verdict(self) -> str:
        """Return holds, partly, FAILS, or not run.

        A claim holds if all comparisons do, or if the interval of their share lies above `SURE`: of 500 rows one may
        be off. It fails if none holds, or if the interval lies below one half.
        """
        held, total = self.held, len(self.comparisons)
        if not total:
            return "not run"
        low, high = self.interval
        if held == total or low >= SURE:
            return "holds"
        return "FAILS" if held == 0 or high < 0.5 else "partly"

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share that holds (Wilson's), as if the comparisons were independent."""
        total = len(self.comparisons)
        if not total:
            return 0.0, 1.0
        share, z = self.held / total, QUANTILE**2 / total
        half = QUANTILE * math.sqrt((share * (1.0 - share) + z / 4.0) / total)
        return max((share + z / 2.0 - half) / (1.0 + z), 0.0), min((share + z / 2.0 + half) / (1.0 + z), 1.0)

    @property
    def counts(self) -> str:
        """How many comparisons hold, the interval of their share, and the counts of each seed."""
        if not self.comparisons:
            return ""
        low, high = self.interval
        words = f"{self.held} of {len(self.comparisons)}, {100 * low:.0f} to {100 * high:.0f}\u00a0%"
        seeds = ", ".join(f"{held}/{total}" for held, total in self.by_seed)
        return f"{words}; by seed {seeds}" if seeds else words

    @property
    def held(self) -> int:
        """Number of comparisons that hold."""
        return sum(one.holds for one in self.comparisons)

    def as_plain(self) -> dict[str, Any]:
        """Return the fact as OUT.json holds it."""
        plain = {"fact": self.label, "claim": self.claim, "source": self.source, "verdict": self.verdict}
        return {**plain, "counts": self.counts, "items": self.comparisons}


def judged(*claims: tuple[str, str, str, Iterable[Comparison]]) -> list[Fact]:
    """Return the facts with these labels, claims, sources and comparisons."""
    return [Fact(label, claim, list(comparisons), source) for label, claim, source, comparisons in claims]


def over_seeds(facts: Mapping[int, Sequence[Fact]]) -> list[Fact]:
    """Return the facts of all seeds as one list: each with the comparisons of every seed."""
    if len(facts) == 1:
        return list(*facts.values())
    merged = []
    for same in zip(*facts.values(), strict=True):
        named = [
            one._replace(text=f"seed {seed}: {one.text}")
            for seed, fact in zip(facts, same, strict=True)
            for one in fact.comparisons
        ]
        counts = tuple((fact.held, len(fact.comparisons)) for fact in same)
        merged.append(same[0]._replace(comparisons=named, by_seed=counts))
    return merged


def facts_text(facts: Sequence[Fact], all_comparisons: bool = False) -> str:
    """Return each fact with its verdict and, below it, the comparisons that do not hold, or all."""
    lines = []
    for fact in facts:
        lines.append(f"({fact.label}) {fact.verdict:<8} {fact.claim} ({fact.counts or 'no row'})")
        for one in fact.comparisons:
            if all_comparisons or not one.holds:
                lines.append(f"      {'  ' if one.holds else 'x '}{one.text}")
    return "\n".join(lines)


def stalled(gaps: Sequence[float], tol: float) -> bool:
    """Return whether a run stands still above the tolerance: its last tenth gains less than a factor of two."""
    return gaps[-1] > max(tol, 0.5 * gaps[-1 - len(gaps) // 10])
