"""The picture of graphs: ranks on a circle, an arrow for each edge, darker where many messages arrive."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpiopt.graph import Graph, diameter
from mpiopt.overwriting import write_whole

COLUMNS = 4


def draw(graphs: Mapping[str, Graph], out: str) -> None:
    """Draw the graphs side by side; the suffix of `out` is the format.

    Raises ValueError for an unknown suffix, OSError where `out` cannot be written.
    """
    # Not pyplot: no window system is asked for, and nothing global is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, max(1, len(graphs)))
    rows = -(-max(1, len(graphs)) // columns)
    figure = Figure(figsize=(3 * columns, 3.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, graph) in zip(axes, graphs.items(), strict=False):
        _one(axis, name, graph)
    kind = Path(out).suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(f"{out}: unknown suffix; known: {', '.join(sorted(known))}")
    image = io.BytesIO()
    figure.savefig(image, format=kind, dpi=150)
    write_whole(Path(out), image.getvalue())


def _one(axis: Any, name: str, graph: Graph) -> None:
    places = [
        (math.sin(2 * math.pi * r / graph.size), math.cos(2 * math.pi * r / graph.size)) for r in range(graph.size)
    ]
    arrow = {"arrowstyle": "-|>", "color": "#0072B2", "alpha": 0.5, "linewidth": 0.8, "shrinkA": 6, "shrinkB": 6}
    for rank, targets in enumerate(graph.outgoing):
        for target in targets:
            axis.annotate("", places[target], places[rank], arrowprops=arrow)
    most = max(1, max(map(len, graph.incoming)))
    shade = [len(sources) / most for sources in graph.incoming]
    axis.scatter(*zip(*places, strict=True), c=shade, cmap="Blues", vmin=-0.5, vmax=1, s=90, edgecolors="black")
    if graph.size <= 40:
        for rank, (x, y) in enumerate(places):
            axis.text(1.16 * x, 1.16 * y, str(rank), ha="center", va="center", fontsize=7)
    axis.set_title(f"{name}: diameter {diameter(graph)}, {graph.messages} messages", fontsize=9)
    axis.set_xlim(-1.3, 1.3)
    axis.set_ylim(-1.3, 1.3)
    axis.set_aspect("equal")
