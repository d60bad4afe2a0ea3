"""The outcome of a cell: measured beside predicted, with the tolerance of the mean of the runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.studies.compression.job import Panel

ERRORS = 3.0  # the tolerance of a cell lies between the quantiles of ± this many normal standard deviations
NEGLECTED = 0.05  # relative error of the prediction, which neglects coupled directions and non-Gaussian rows
READ = 0.1  # log10; error of figures read from the authors' pictures


@dataclass(frozen=True)
class CompressionOutcome:
    """One compressor of a panel over all runs; the names of the fields are keys of OUT.json."""

    panel: Panel
    method: str
    memory: str
    gamma: float
    omega: float
    marks: list[int]  # steps at which the excess risk is recorded
    curves: list[list[float]]  # excess risk at the marks, for each run
    closed: list[float]  # prediction at the marks with the noise at w*
    grown: list[float]  # prediction with noise that grows with the distance from w*
    spread: float  # predicted standard deviation of one run at the end / its mean

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
        """Lower end of the tolerance of measured − predicted, log10, <= 0."""
        return math.log10(quantile(-ERRORS, self.spread, len(self.curves)) * (1.0 - NEGLECTED))

    @property
    def high(self) -> float:
        """Upper end of the tolerance of measured − predicted, log10, >= 0."""
        return math.log10(quantile(ERRORS, self.spread, len(self.curves)) * (1.0 + NEGLECTED))

    @property
    def agrees(self) -> bool:
        """Whether the measured value is within the tolerance."""
        return self.low <= self.measured - self.predicted <= self.high

    @property
    def authors(self) -> float:
        """The authors' figure, or NaN."""
        return self.panel.figure(self.method, self.memory)

    @property
    def authors_agree(self) -> bool | None:
        """Whether the authors' figure agrees with ours within both tolerances; None if it is of another K."""
        if math.isnan(self.authors) or self.panel.iterations != self.panel.authors_iterations:
            return None
        return 2.0 * self.low - READ <= self.measured - self.authors <= 2.0 * self.high + READ

    @property
    def verdict(self) -> str:
        """The verdicts on the prediction and on the authors' figure."""
        theirs = {None: "", True: ", authors' too", False: ", authors' DIFFERS"}[self.authors_agree]
        return ("agrees" if self.agrees else "DIFFERS") + theirs

    @property
    def name(self) -> str:
        """The column of the table."""
        return self.method + (" with memory" if self.memory == "difference" else "")

    @property
    def figures(self) -> str:
        """Measured/predicted, the tolerance and, in brackets, the authors' figure."""
        star = "" if self.panel.iterations == self.panel.authors_iterations else "*"
        theirs = "" if math.isnan(self.authors) else f" ({self.authors:.2f}{star})"
        mark = "" if self.agrees else "x "
        return f"{mark}{self.measured:.2f}/{self.predicted:.2f}{self.low:+.2f}{self.high:+.2f}{theirs}"

    def as_plain(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        derived = ("measured", "predicted", "low", "high", "verdict")
        return {**vars(self), "panel": self.panel.name} | {name: getattr(self, name) for name in derived}


def quantile(z: float, spread: float, runs: int) -> float:
    """Return the quantile of (mean of the runs / its expectation) at z normal standard deviations.

    The excess risk is a sum of squares of nearly normal numbers: χ² with m = 2 runs/spread² degrees of freedom
    (E. B. Wilson, M. M. Hilferty, PNAS 17 (1931)).
    """
    part = spread**2 / (9.0 * runs)  # 2/(9 m)
    return float(max(1.0 - part + z * math.sqrt(part), 0.1) ** 3)
