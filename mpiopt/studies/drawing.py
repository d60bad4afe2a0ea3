"""Draw pictures into files with matplotlib, without a screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SMALLEST_GAP, LARGEST_GAP = 1e-16, 1e3  # relative suboptimality that charts show: rounding, a run that is lost


@contextmanager
def panels(path: str, rows: int, columns: int, size: tuple[float, float], sharey: bool = False) -> Iterator[Any]:
    """Yield the axes of a figure, an array (rows, columns); write the figure to `path` at the end.

    Raises
    ------
    ImportError
        If matplotlib is absent.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=size, sharey=sharey, layout="constrained", squeeze=False)
    yield axes
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def visible(gaps: Sequence[float]) -> list[float]:
    """Return the gaps with NaN, which charts leave out, below rounding and where a run is lost."""
    return [gap if SMALLEST_GAP < gap < LARGEST_GAP else float("nan") for gap in gaps]
