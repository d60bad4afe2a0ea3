"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-:=+*#"
WIDTH = 50


def marks(encoding: str | None) -> str:
    """Give the marks, low to high, that an output of this encoding can show."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def sparkline(values: ArrayLike, shown: Sequence[str] = BLOCKS, width: int = WIDTH) -> str:
    """Draw the logarithms of the values, or the values where one is not positive; what is not finite is a blank."""
    y = np.asarray(values, dtype=np.float64)
    y = y[np.unique(np.linspace(0, len(y) - 1, min(width, len(y))).round().astype(int))] if len(y) else y
    finite = np.isfinite(y)
    if not finite.any():
        return " " * len(y)
    if (y[finite] > 0.0).all():
        y = np.log(y, out=np.full_like(y, np.nan), where=finite)
    low, span = y[finite].min(), np.ptp(y[finite])
    share = (y - low) / span if span > 0.0 else np.zeros_like(y)
    places = np.where(finite, np.nan_to_num(share) * (len(shown) - 1), 0.0).round().astype(int)
    return "".join(shown[p] if ok else " " for p, ok in zip(places, finite, strict=True))
