"""What was measured beside what was predicted: the cells, their verdicts, the orderings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpiopt.studies.compression.panel import Panel

ERRORS = 3.0  # standard deviations of a normal number to which the quantiles of a cell's tolerance belong
NEGLECTED = 0.05  # relative: directions that the noise couples, rows that are not Gaussian
READ = 0.1  # log10, how well the authors' pictures can be read
TOLD = 0.25  # log10, by which two of the authors' figures must differ to be an ordering


@dataclass(frozen=True)
class CompressionCell:
    """One compressor of a panel, over all runs."""

    panel: Panel
    method: str
    memory: str
    gamma: float
    omega: float
    marks: list[int]
    curves: list[list[float]]  # excess risk at the marks, for each run
    closed: list[float]  # predicted at the marks, with the noise at w*
    grown: list[float]  # predicted, with the noise that grows with the distance
    spread: float  # predicted standard deviation of one run at the end / mean

    @property
    def measured(self) -> float:
        """log10 of the mean of the runs at the end."""
        return math.log10(np.mean([curve[-1] for curve in self.curves]))

    @property
    def predicted(self) -> float:
        """log10 of the prediction."""
        return math.log10(self.grown[-1])

    @property
    def low(self) -> float:
        """By how much less than predicted may be measured, in log10, <= 0."""
        return math.log10(quantile(-ERRORS, self.spread, len(self.curves)) * (1.0 - NEGLECTED))

    @property
    def high(self) -> float:
        """By how much more than predicted may be measured, in log10, >= 0."""
        return math.log10(quantile(ERRORS, self.spread, len(self.curves)) * (1.0 + NEGLECTED))

    @property
    def agrees(self) -> bool:
        """Whether measured and predicted agree."""
        return self.low <= self.measured - self.predicted <= self.high

    @property
    def authors(self) -> float:
        """Their figure, NaN where there is none."""
        return self.panel.figure((self.method, self.memory))

    @property
    def authors_agree(self) -> bool | None:
        """Whether theirs agrees with ours, within both tolerances and the reading; None where K is another."""
        if math.isnan(self.authors) or self.panel.iterations != self.panel.authors_iterations:
            return None
        return 2.0 * self.low - READ <= self.measured - self.authors <= 2.0 * self.high + READ

    @property
    def verdict(self) -> str:
        """Give both verdicts."""
        theirs = {None: "", True: ", authors' too", False: ", authors' DIFFERS"}[self.authors_agree]
        return ("agrees" if self.agrees else "DIFFERS") + theirs


@dataclass(frozen=True)
class Pair:
    """Two cells whose order is known: `better` has the smaller excess risk."""

    better: CompressionCell
    worse: CompressionCell
    source: str  # "predicted", "authors" or "claimed"

    @property
    def holds(self) -> bool:
        """Whether it was measured so."""
        return self.better.measured < self.worse.measured

    @property
    def tied(self) -> bool:
        """Whether the runs can not tell them apart."""
        return abs(self.better.measured - self.worse.measured) <= max(self.better.high, self.worse.high)

    @property
    def text(self) -> str:
        """Name it."""
        a, b = self.better, self.worse
        return f"{a.panel.name}: {label(a)} {a.measured:.2f} < {label(b)} {b.measured:.2f}"


def quantile(z: float, spread: float, runs: int) -> float:
    """Give the quantile of the mean of the runs / its expectation that belongs to z of a normal number.

    The excess risk is a sum of squares of nearly normal numbers: χ² with m = 2 runs/spread² degrees of freedom
    (E. B. Wilson, M. M. Hilferty, PNAS 17 (1931)).
    """
    part = spread**2 / (9.0 * runs)  # 2/(9 m)
    return float(max(1.0 - part + z * math.sqrt(part), 0.1) ** 3)


def label(cell: CompressionCell) -> str:
    """Name the column."""
    return cell.method + (" with memory" if cell.memory == "difference" else "")


def pairs(cells: list[CompressionCell]) -> Iterator[Pair]:
    """Give the orderings within each panel that are predicted, the authors', or claimed.

    Predicted are those that the tolerances of the two cells can tell apart. An order of the authors' is asked for
    only where it is predicted for this K as well: in the transient it can be another.
    """
    for a, b in itertools.permutations(cells, 2):
        if a.panel != b.panel:
            continue
        told = b.predicted - a.predicted > a.high - b.low
        if told:
            yield Pair(a, b, "predicted")
            if b.authors - a.authors > TOLD:
                yield Pair(a, b, "authors")
        if a.memory == b.memory and a.method in a.panel.ahead and b.method in a.panel.behind:
            yield Pair(a, b, "claimed")


def transient(cells: list[CompressionCell]) -> int:
    """Count the authors' orderings that can not be told or are not predicted at this K."""
    theirs = [
        (a, b) for a, b in itertools.permutations(cells, 2) if a.panel == b.panel and b.authors - a.authors > TOLD
    ]
    return len(theirs) - sum(pair.source == "authors" for pair in pairs(cells))
