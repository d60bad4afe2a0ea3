"""What is drawn: curves and bars as plain values; `page.js` makes charts of Plotly's from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

MOST_POINTS = 1500  # of a curve; more could not be told apart


@dataclass(frozen=True)
class Curve:
    """A line, or with `mode` markers only points; `series` is its place among the colours, -1: grey, behind."""

    name: str
    x: list[float | None]
    y: list[float | None]
    series: int = 0
    mode: str = "lines"
    dash: str = "solid"
    texts: list[str] = field(default_factory=list)  # shown on the points of events


@dataclass(frozen=True)
class Bars:
    """A part of every bar; `labels` are the bars."""

    name: str
    labels: list[str]
    values: list[float | None]
    series: int = 0


@dataclass(frozen=True)
class Chart:
    """A chart; axes are "log" or "linear", the horizontal one "either", as the reader likes."""

    title: str
    x: str
    y: str
    parts: Sequence[Curve | Bars]
    xaxis: str = "linear"
    yaxis: str = "log"
    small: str = ""  # "small": one of many

    def plain(self) -> dict[str, Any]:
        """Give the chart as plain values."""
        return asdict(self)


def curve(name: str, x: ArrayLike, y: ArrayLike, series: int = 0) -> Curve:
    """Give a curve; points that are no finite numbers, and of many points some, are left out."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    kept = np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))
    if len(kept) > MOST_POINTS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_POINTS).round().astype(int))]
    return Curve(name, short(xs[kept].tolist()), short(ys[kept].tolist()), series)


def short(values: Sequence[float]) -> list[float | None]:
    """Give numbers with the six digits that a chart can show; None for what is not finite, as JSON wants it."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]
