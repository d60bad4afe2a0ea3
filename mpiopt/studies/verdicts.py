"""Facts that a study checks, and their verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Comparison(NamedTuple):
    """One comparison of an outcome with what was expected."""

    holds: bool
    text: str


class Fact(NamedTuple):
    """A claim with the comparisons that support or contradict it."""

    label: str  # (a), (b), … in tables and pages
    claim: str
    comparisons: list[Comparison]

    @property
    def verdict(self) -> str:
        """Return holds, partly, FAILS, or not run."""
        held = self.held
        if not self.comparisons:
            return "not run"
        return "holds" if held == len(self.comparisons) else "partly" if held else "FAILS"

    @property
    def held(self) -> int:
        """Number of comparisons that hold."""
        return sum(one.holds for one in self.comparisons)

    def as_plain(self) -> dict[str, Any]:
        """Return the fact as OUT.json holds it."""
        return {"fact": self.label, "claim": self.claim, "verdict": self.verdict, "items": self.comparisons}


def judged(*claims: tuple[str, str, Iterable[Comparison]]) -> list[Fact]:
    """Return the facts with these labels, claims and comparisons."""
    return [Fact(label, claim, list(comparisons)) for label, claim, comparisons in claims]


def facts_text(facts: Sequence[Fact], all_comparisons: bool = False) -> str:
    """Return each fact with its verdict and, below it, the comparisons that do not hold, or all."""
    lines = []
    for fact in facts:
        lines.append(f"({fact.label}) {fact.verdict:<8} {fact.claim} ({fact.held} of {len(fact.comparisons)})")
        for one in fact.comparisons:
            if all_comparisons or not one.holds:
                lines.append(f"      {'  ' if one.holds else 'x '}{one.text}")
    return "\n".join(lines)


def stalled(gaps: Sequence[float], tol: float) -> bool:
    """Return whether a run stands still above the tolerance: its last tenth gains less than a factor of two."""
    return gaps[-1] > max(tol, 0.5 * gaps[-1 - len(gaps) // 10])
