"""Charts drawn by matplotlib into a file: `mpiopt plot RUN.h5 … --out PNG`, and the pictures of studies."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.files import write_whole
from mpiopt.results.html.charts import AUTO, Chart, Curve, curve
from mpiopt.results.run_record import RunRecord, names, with_history

# The colours of Okabe and Ito, which colour-blind readers can distinguish, in an order for neighbouring curves.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "0.6"  # of curves in the background
ROUNDING = 1e-16  # relative differences of objectives below this are rounding
FEW_POINTS = 60  # a curve of no more points shows each of them
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "x", "P")
MARKED = 12  # markers of a curve, about
STROKES = {"dash": "--", "dot": ":", "dashdot": "-."}  # of curves that ask for one
PANEL = (4.8, 3.2)  # inches of a chart
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
    records = [with_history(path) for path in paths]
    charts = convergence(records, list(zip(names(paths), itertools.count(), strict=False)), against)
    draw([*charts[::2], *charts[1::2]], out, len(against))


def convergence(
    records: Sequence[RunRecord], series: Sequence[tuple[str, int]], against: Sequence[str]
) -> list[Chart]:
    """Return two charts for each column of the history: the certificate over it, and the objective minus the best.

    `series` has the name and the number of the colour of each run.
    """
    kinds = {r.kind for r in records}
    kind = kinds.pop() if len(kinds) == 1 else "certificate"
    above, charts = gaps(records), []
    for x in against:
        certificates, objectives = (
            [curve(name, r.history[x], y, i, AUTO) for (name, i), r, y in zip(series, records, values, strict=True)]
            for values in ([positive(r.history["certificate"]) for r in records], above)
        )
        label = XLABELS.get(x, x)
        charts.append(Chart(f"certificate over {label}", label, f"{kind} (relative)", certificates, "either"))
        charts.append(Chart(f"objective over {label}", label, "(F − best) / |best|", objectives, "either"))
    return charts


def gaps(results: Sequence[RunRecord]) -> list[NDArray[np.float64]]:
    """Return, for each run, its objective minus the best of all runs of the same problem, relative to that best.

    Numbers below ROUNDING, the best itself among them, become NaN: they have no place on a logarithmic axis.
    """
    best: dict[tuple[str, ...], float] = {}
    for result in results:
        best[result.problem] = min(best.get(result.problem, np.inf), float(np.nanmin(result.history["objective"])))
    relative = []
    for result in results:
        least = best[result.problem]
        gap = (result.history["objective"] - least) / max(abs(least), 1e-300)
        relative.append(np.where(gap > ROUNDING, gap, np.nan))
    return relative


def positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values that a logarithmic axis can show, NaN for the others."""
    return np.where(values > 0.0, values, np.nan)


def draw(charts: Sequence[Chart], out: str | Path, columns: int) -> None:
    """Draw charts of curves, at most `columns` side by side; the suffix of `out` is the format.

    Raises
    ------
    ImportError
        If matplotlib is absent.
    ValueError, OSError
        One line: the suffix is unknown, or `out` cannot be written.
    """
    # Not pyplot: this needs no window system and changes no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(1, min(columns, len(charts)))
    rows = max(1, -(-len(charts) // columns))
    figure = Figure(figsize=(columns * PANEL[0], rows * PANEL[1]), layout="constrained")
    kinds = FigureCanvasAgg(figure).get_supported_filetypes()
    named: dict[str, Any] = {}
    for axes, chart in itertools.zip_longest(figure.subplots(rows, columns, squeeze=False).flat, charts):
        if chart is None:
            axes.set_axis_off()
        else:
            _draw_chart(axes, chart, named)
    if len(named) > 1:
        figure.legend(named.values(), named, loc="outside upper center", ncols=3, frameon=False)
    else:
        figure.suptitle(next(iter(named), ""), fontsize=11)
    kind, image = Path(out).suffix.lstrip(".").lower(), io.BytesIO()
    if kind not in kinds:
        raise ValueError(f"{out}: unknown suffix; known: {', '.join(sorted(kinds))}")
    figure.savefig(image, format=kind, dpi=150)
    write_whole(Path(out), image.getvalue())


def _stroke(part: Curve) -> dict[str, Any]:
    """Return dash and markers of a line."""
    if part.dash == AUTO and part.series >= 0:
        every = max(1, len(part.x) // MARKED)
        dash, marker = DASHES[part.series % len(DASHES)], MARKERS[part.series % len(MARKERS)]
        return {"linestyle": dash, "marker": marker, "markersize": 4, "markevery": every}
    own = DASHES[part.series // len(COLOURS) % len(DASHES)]
    marker = "o" if len(part.x) <= FEW_POINTS else ""
    return {"linestyle": STROKES.get(part.dash, own), "marker": marker, "markersize": 3}


def _draw_chart(axes: Any, chart: Chart, named: dict[str, Any]) -> None:
    """Draw one chart; note the first line of each name in `named`."""
    for part in (part for part in chart.parts if isinstance(part, Curve) and part.x):
        style = {"color": COLOURS[part.series % len(COLOURS)] if part.series >= 0 else GREY, "linewidth": 1.5}
        if part.mode == "markers":
            style |= {"linestyle": "none", "marker": "x"}
        else:
            style |= _stroke(part)
        (line,) = axes.plot(part.x, part.y, **style)
        named.setdefault(part.name, line)
    axes.set_title(chart.title, fontsize="medium")
    axes.set(xlabel=chart.x, ylabel=chart.y, xscale="log" if chart.xaxis == "log" else "linear")
    axes.grid(True, which="major", linewidth=0.5, alpha=0.35)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.xaxis == "either":
        axes.set_xlim(left=0.0)
    if axes.lines:
        axes.set_yscale(chart.yaxis)
    else:  # matplotlib fails on a logarithmic axis without curves
        axes.text(0.5, 0.5, "nothing above zero", transform=axes.transAxes, ha="center", alpha=0.6)
