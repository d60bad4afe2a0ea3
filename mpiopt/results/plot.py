"""`mpiopt plot RUN.h5 … --out PNG`: a picture of the convergence of one or several runs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.files import write_whole
from mpiopt.results.run_record import RunRecord, names, with_history

# The colours of Okabe and Ito, which colour-blind readers can distinguish, in an order for neighbouring curves.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
ROUNDING = 1e-16  # relative differences of objectives below this are rounding
FEW_POINTS = 60  # a curve of no more points shows each of them
DASHES = ("-", "--", "-.", ":")
XLABELS = {"round": "rounds", "epoch": "epochs", "seconds": "seconds", "bytes_sent": "bytes of all ranks"}


def plot(paths: Sequence[str | Path], out: str | Path, against: Sequence[str] = ("epoch", "seconds")) -> None:
    """Draw certificate, and objective minus best, over columns of the history; the suffix of `out` is the format.

    Raises
    ------
    ValueError
        One line: a file is not a run, a run has no history, or the suffix is unknown.
    OSError
        One line: `out` cannot be written.
    """
    if not paths:
        raise ValueError("plot needs at least one result file")
    results = [with_history(path) for path in paths]
    figure = _figure(results, names(paths), against)
    image = io.BytesIO()
    kind = Path(out).suffix.lstrip(".").lower()
    if kind not in figure.canvas.get_supported_filetypes():
        known = ", ".join(sorted(figure.canvas.get_supported_filetypes()))
        raise ValueError(f"{out}: unknown suffix; known: {known}")
    figure.savefig(image, format=kind, dpi=150)
    write_whole(Path(out), image.getvalue())


def gaps(results: Sequence[RunRecord]) -> list[NDArray[np.float64]]:
    """Return, for each run, its objective minus the best of all runs of the same problem, relative to that best.

    Numbers below ROUNDING, the best itself among them, become NaN: they have no place on a logarithmic axis.
    """
    best: dict[tuple[str, ...], float] = {}
    for result in results:
        best[result.problem] = min(best.get(result.problem, np.inf), float(np.nanmin(result.history["objective"])))
    found = []
    for result in results:
        least = best[result.problem]
        gap = (result.history["objective"] - least) / max(abs(least), 1e-300)
        found.append(np.where(gap > ROUNDING, gap, np.nan))
    return found


def positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values that a logarithmic axis can show, NaN for the others."""
    return np.where(values > 0.0, values, np.nan)


def _figure(results: Sequence[RunRecord], names: Sequence[str], against: Sequence[str]) -> Any:
    # Not pyplot: this needs no window system and changes no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * len(against), 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(against), sharex="col", sharey="row", squeeze=False)
    for i, (result, gap) in enumerate(zip(results, gaps(results), strict=True)):
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % len(DASHES)]}
        for j, x in enumerate(against):
            _curve(axes[0][j], result.history[x], positive(result.history["certificate"]), names[i], style)
            _curve(axes[1][j], result.history[x], gap, names[i], style)
    _label(axes, results, against)
    if len(results) > 1:
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    else:
        figure.suptitle(names[0], fontsize=11)
    return figure


def _curve(axis: Any, x: NDArray[np.float64], y: NDArray[np.float64], name: str, style: dict[str, str]) -> None:
    drawn = np.isfinite(y)
    marker = "o" if len(x) <= FEW_POINTS else ""
    axis.plot(x[drawn], y[drawn], label=name, marker=marker, markersize=3, linewidth=1.5, **style)


def _label(axes: Any, results: Sequence[RunRecord], against: Sequence[str]) -> None:
    kinds = {r.kind for r in results}
    axes[0][0].set_ylabel(f"{kinds.pop() if len(kinds) == 1 else 'certificate'} (relative)")
    axes[1][0].set_ylabel("objective − best (relative)")
    for axis, x in zip(axes[1], against, strict=True):
        axis.set_xlabel(XLABELS.get(x, x))
    for axis in axes.flat:
        axis.set_xlim(left=0)
        axis.grid(True, which="major", linewidth=0.5, alpha=0.35)
        axis.spines[["top", "right"]].set_visible(False)
        if any(len(drawn.get_xdata()) for drawn in axis.lines):
            axis.set_yscale("log")
        else:  # matplotlib fails on a logarithmic axis without curves
            axis.text(0.5, 0.5, "nothing above zero", transform=axis.transAxes, ha="center", alpha=0.6)
