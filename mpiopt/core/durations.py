"""Durations as text: printed and read in one form, such as 3.21 s, 4m05s, 2h03m or 1d02h."""

from __future__ import annotations

import re

MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds
UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "min": MINUTE, "s": 1}
FORM = "like 30s, 10min, 4m05s, 2h03m or 1d"
_PART = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(min|[dhms])")


def duration(seconds: float) -> str:
    """Return seconds as text: 0.012 s, 3.21 s, 4m05s, 2h03m, 4d03h."""
    if seconds < 99.95:
        return f"{seconds:.3g} s" if seconds >= 0.1 else f"{seconds:.3f} s"
    if seconds < 100 * MINUTE - 0.5:
        minutes, rest = divmod(round(seconds), MINUTE)
        return f"{minutes}m{rest:02d}s"
    minutes = round(seconds / MINUTE)
    if minutes < 100 * 60:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    hours = round(seconds / HOUR)
    return f"{hours // 24}d{hours % 24:02d}h"


def read_duration(text: str) -> float:
    """Return the seconds of a text such as `30s`, `10min`, `4m05s`, `1.5h` or what `duration` returned.

    Raises
    ------
    ValueError
        If the text is no duration.
    """
    place, seconds, last = 0, 0.0, float("inf")
    while match := _PART.match(text, place):
        unit = UNITS[match[2]]
        if unit >= last:  # from the largest unit to the smallest, each once
            break
        place, last = match.end(), unit
        seconds += float(match[1]) * unit
    if place == 0 or text[place:].strip():
        raise ValueError(f"a duration must be {FORM}, not {text!r}")
    return seconds
