"""Curves, bars and charts as plain values, from which `page.js` makes Plotly charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

AUTO = "auto"  # a dash that follows from the series
MOST_POINTS = 1500  # of a curve: a screen shows no more


@dataclass(frozen=True)
class Curve:
    """A line, or points if `mode` is "markers"; `series` is the index of its colour, -1 for grey.

    With the dash AUTO the series decides dash and marker as well as the colour: lines are told apart without colours.
    """

    name: str
    x: list[float | None]
    y: list[float | None]
    series: int = 0
    mode: str = "lines"
    dash: str = "solid"
    texts: list[str] = field(default_factory=list)  # shown on the points of events


@dataclass(frozen=True)
class Bars:
    """One segment of every bar; `labels` are the names of the bars. With `low` and `high`, each has an interval."""

    name: str
    labels: list[str]
    values: list[float | None]
    series: int = 0
    low: list[float | None] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """A chart; an axis is "log" or "linear"; the horizontal axis may be "either", and then the reader switches it."""

    title: str
    x: str
    y: str
    parts: Sequence[Curve | Bars]
    xaxis: str = "linear"
    yaxis: str = "log"
    small: str = ""  # "small": one of many
    legend: bool = False  # names of the lines beside the chart, on a wide screen
    bands: Sequence[tuple[float, float]] = ()  # stretches of the horizontal axis that are shaded

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see: no points, or all at the same place on the horizontal axis."""
        bars = any(isinstance(part, Bars) for part in self.parts)
        places = {x for part in self.parts if isinstance(part, Curve) and part.series >= 0 for x in part.x}
        return not bars and len(places) < 2

    def plain(self) -> dict[str, Any]:
        """Return the chart as plain values."""
        return asdict(self)


def curve(name: str, x: ArrayLike, y: ArrayLike, series: int = 0, dash: str = "solid") -> Curve:
    """Return a curve without points that are not finite, and with at most MOST_POINTS points."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    kept = np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))
    if len(kept) > MOST_POINTS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_POINTS).round().astype(int))]
    return Curve(name, short(xs[kept].tolist()), short(ys[kept].tolist()), series, dash=dash)


def short(values: Sequence[float]) -> list[float | None]:
    """Return numbers with six digits, which is what a chart can show; None, for JSON, if not finite."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]
