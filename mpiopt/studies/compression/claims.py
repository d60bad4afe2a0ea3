"""The facts that are judged: predictions, the authors' figures, and which compressor is better than which."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mpiopt.studies.compression.outcome import CompressionOutcome
from mpiopt.studies.verdicts import Comparison, Fact

CLEAR = 0.25  # log10; difference between two of the authors' figures that counts as an ordering


@dataclass(frozen=True)
class Ordering:
    """Two cells whose order is known: `better` should have the smaller excess risk."""

    better: CompressionOutcome
    worse: CompressionOutcome
    source: str  # "predicted", "authors" or "claimed"

    @property
    def holds(self) -> bool:
        """Whether this order was measured."""
        return self.better.measured < self.worse.measured

    @property
    def tied(self) -> bool:
        """Whether the difference is within the tolerance of the runs."""
        return abs(self.better.measured - self.worse.measured) <= max(self.better.high, self.worse.high)

    @property
    def text(self) -> str:
        """Both cells and their measured excess risks."""
        a, b = self.better, self.worse
        tie = "" if self.holds or not self.tied else " (a tie)"
        return f"{a.panel.name}: {a.name} {a.measured:.2f} < {b.name} {b.measured:.2f}{tie}"


def orderings(cells: Sequence[CompressionOutcome]) -> Iterator[Ordering]:
    """Yield the orderings within each panel that are predicted, the authors', or claimed.

    An ordering is predicted if the tolerances of the two cells do not overlap. The authors' orderings are judged only
    if they are also predicted at this K, because orders can differ in the transient.
    """
    for a, b in itertools.permutations(cells, 2):
        if a.panel != b.panel:
            continue
        if b.predicted - a.predicted > a.high - b.low:
            yield Ordering(a, b, "predicted")
            if b.authors - a.authors > CLEAR:
                yield Ordering(a, b, "authors")
        if a.memory == b.memory and a.method in a.panel.ahead and b.method in a.panel.behind:
            yield Ordering(a, b, "claimed")


def unpredicted(cells: Sequence[CompressionOutcome]) -> int:
    """Count the authors' orderings that are not predicted at this K."""
    theirs = [
        (a, b) for a, b in itertools.permutations(cells, 2) if a.panel == b.panel and b.authors - a.authors > CLEAR
    ]
    return len(theirs) - sum(pair.source == "authors" for pair in orderings(cells))


def words(c: CompressionOutcome) -> str:
    """Return a cell with its figures."""
    return f"{c.panel.name}, {c.name}: {c.figures}"


def judge(outcomes: Sequence[CompressionOutcome]) -> list[Fact]:
    """Judge all facts."""
    ordered = list(orderings(outcomes))
    sources = {
        "predicted": ("orderings outside the tolerances are as predicted", "ours"),
        "authors": ("the authors' orderings that are predicted at this number of steps hold", "the paper's figures"),
        "claimed": (
            "participation and quantisation do better than sparsification, sketch and rand-k",
            "the authors', in the notes to their code",
        ),
    }
    theirs = [c for c in outcomes if c.authors_agree is not None]
    facts = [
        Fact(
            "a",
            "the excess risk is the predicted one, within 3 standard deviations",
            [Comparison(c.agrees, words(c)) for c in outcomes],
            "our prediction, from the paper's theory",
        ),
        Fact(
            "b",
            "the excess risk is the authors'",
            [Comparison(bool(c.authors_agree), words(c)) for c in theirs],
            "the paper's figures, read from their pictures",
        ),
    ]
    return facts + [
        Fact(label, claim, [Comparison(p.holds or p.tied, p.text) for p in ordered if p.source == source], whose)
        for label, (source, (claim, whose)) in zip("cde", sources.items(), strict=True)
    ]
