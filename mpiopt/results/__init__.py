"""Result files and what is made of them; `mpiopt.results.open("run.h5")` reads a run as pandas frames."""

from __future__ import annotations

from typing import Any

__all__ = ["open"]


def __getattr__(name: str) -> Any:
    """Load the reader when it is first asked for: training needs none of it."""
    if name != "open":
        raise AttributeError(f"module 'mpiopt.results' has no attribute {name!r}")
    from mpiopt.results import frames

    return frames.open
