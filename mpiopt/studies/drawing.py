"""Matplotlib for pictures that go into files."""

from __future__ import annotations

from types import ModuleType


def load_pyplot() -> ModuleType:
    """Give pyplot, drawing without a screen.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    return pyplot
