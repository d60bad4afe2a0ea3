"""The picture of graphs: ranks on a circle, an arrow for each edge, darker where many messages arrive.

`mpiopt list topologies --ranks P [--plot FILE.png]`: what the graphs on P ranks are like.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.consensus.digraph import Graph, diameter, spectral_gap
from mpiopt.consensus.mixing_weights import column_stochastic
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.flags import Settings
from mpiopt.core.config.job_file import value_of
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.files import write_whole

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


MOST_RANKS = 2000  # the spectral gap asks for the eigenvalues of a (ranks, ranks) matrix
HEADER = (
    f"  {'':<14} {'diameter':>8} {'out-degree':>10} {'in-degree':>10} {'spectral gap':>12} {'messages/round':>14}"
)


class Facts(NamedTuple):
    """What a graph is like."""

    diameter: int
    out_degree: str  # "2" or "1-7"
    in_degree: str
    spectral_gap: float  # of the column-stochastic weights
    messages: int  # per round


def facts(graph: Graph) -> Facts:
    """Look at a strongly connected graph."""
    return Facts(
        diameter(graph),
        _span([len(to) for to in graph.outgoing]),
        _span([len(sources) for sources in graph.incoming]),
        spectral_gap(column_stochastic(graph)),
        graph.messages,
    )


def show_graphs(wanted: Sequence[str], settings: Settings, comm: Comm) -> int:
    """Print a line for each topology on --ranks ranks, or for those named; draw them where --plot names a file."""
    options = dict(settings)
    if wanted[:1] != ["topologies"] or "ranks" not in options:
        raise ValueError("--ranks and --plot are for graphs: mpiopt list topologies [NAME …] --ranks P [--plot FILE]")
    size = value_of("ranks", options["ranks"], int)
    if not (isinstance(size, int) and 1 <= size <= MOST_RANKS):
        raise ValueError(f"--ranks must be from 1 to {MOST_RANKS}, not {size}")
    if comm.rank == 0:
        found = graphs(wanted[1:], size)
        print(table(found, size))
        if "plot" in options:
            draw({name: graph for name, graph in found.items() if isinstance(graph, Graph)}, options["plot"])
            print(f"drawn: {options['plot']}")
    return 0


def graphs(wanted: Sequence[str], size: int) -> dict[str, Graph | str]:
    """Give the graphs of `random-k[k=3]` and the like; of all topologies, with the reason where there is none."""
    if wanted:
        return {text: topology_of(text).graph(size) for text in wanted}
    found: dict[str, Graph | str] = {}
    for name, kind in Topology.known().items():
        try:
            found[name] = kind().graph(size)
        except ValueError as error:
            found[name] = str(error)
    return found


def topology_of(text: str) -> Topology:
    """Give the topology that a word of the command line names, with its options."""
    selection = parse_spec(text)
    return Topology.make(selection.name, selection.fitted(Topology.known()))


def table(found: dict[str, Graph | str], size: int) -> str:
    """Give one line for each graph."""
    lines = [f"topologies on {size} ranks", HEADER]
    for name, graph in found.items():
        if isinstance(graph, str):
            lines.append(f"  {name:<14} {graph}")
            continue
        it = facts(graph)
        lines.append(
            f"  {name:<14} {it.diameter:>8} {it.out_degree:>10} {it.in_degree:>10} {it.spectral_gap:>12.2e}"
            f" {it.messages:>14}"
        )
    return "\n".join(lines)


def _span(degrees: Sequence[int]) -> str:
    low, high = min(degrees), max(degrees)
    return str(low) if low == high else f"{low}-{high}"
