"""Result files and what is made from them; `mpiopt.results.open("run.h5")` opens a run as pandas frames."""

from __future__ import annotations

from typing import Any

__all__ = ["open"]


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)


def __getattr__(name: str) -> Any:
    """Import the reader at its first use: training does not need it."""
    if name != "open":
        raise AttributeError(f"module 'mpiopt.results' has no attribute {name!r}")
    from mpiopt.results import frames

    return frames.open
