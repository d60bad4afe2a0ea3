"""`mpiopt list topologies --ranks P [--plot FILE]`: figures and a picture of the graphs on P ranks."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.consensus.digraph import Graph, diameter, spectral_gap
from mpiopt.consensus.mixing_weights import column_stochastic
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.flags import Settings
from mpiopt.core.config.job_file import value_of
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.files import mark_output, refuse_existing, write_whole

MAX_RANKS = 2000  # the spectral gap needs the eigenvalues of a (ranks, ranks) matrix
PICTURES_IN_A_ROW = 4
MAX_LABELLED = 40  # ranks up to which their numbers are drawn; with more they overlap
HEADINGS = (
    f"  {'':<14} {'diameter':>8} {'out-degree':>10} {'in-degree':>10} {'spectral gap':>12} {'messages/round':>14}"
)


class GraphFigures(NamedTuple):
    """The figures of one graph."""

    diameter: int
    out_degree: str  # "2" or "1-7"
    in_degree: str
    spectral_gap: float  # of the column-stochastic weights
    messages: int  # in a round


def list_topologies(words: Sequence[str], settings: Settings, comm: Comm) -> int:
    """Print a line for each topology on --ranks ranks, or for those named; with --plot, draw them."""
    given = dict(settings)
    if words[:1] != ["topologies"] or "ranks" not in given:
        raise ValueError("--ranks and --plot are for graphs: mpiopt list topologies [NAME …] --ranks P [--plot FILE]")
    size = value_of("ranks", given["ranks"], int)
    if not (isinstance(size, int) and 1 <= size <= MAX_RANKS):
        raise ValueError(f"--ranks must be from 1 to {MAX_RANKS}, not {size}")
    if comm.rank == 0:
        graphs = make_graphs(words[1:], size)
        print_on_root(comm, table(graphs, size))
        if "plot" in given:
            refuse_existing(given["plot"], "overwrite" in given, "list")
            draw({name: graph for name, graph in graphs.items() if isinstance(graph, Graph)}, given["plot"])
            mark_output(Path(given["plot"]), "list")
            print_on_root(comm, f"written: {given['plot']}")
    return 0


def make_graphs(specs: Sequence[str], size: int) -> dict[str, Graph | str]:
    """Return the graphs of `random-k[k=3]` and the like; without specs, those of all topologies.

    Of all topologies, one that has no graph on `size` ranks is listed with the reason.
    """
    if specs:
        return {spec: topology_of(spec).graph(size) for spec in specs}
    graphs: dict[str, Graph | str] = {}
    for name, kind in Topology.known().items():
        try:
            graphs[name] = kind().graph(size)
        except ValueError as error:
            graphs[name] = str(error)
    return graphs


def topology_of(text: str) -> Topology:
    """Return the topology that a text such as `random-k[k=3]` names."""
    spec = parse_spec(text)
    return Topology.make(spec.name, spec.fitted(Topology.known()))


def table(graphs: Mapping[str, Graph | str], size: int) -> str:
    """Return one line for each graph."""
    lines = [f"topologies on {size} ranks", HEADINGS]
    for name, graph in graphs.items():
        if isinstance(graph, str):
            lines.append(f"  {name:<14} {graph}")
            continue
        f = figures_of(graph)
        lines.append(
            f"  {name:<14} {f.diameter:>8} {f.out_degree:>10} {f.in_degree:>10} {f.spectral_gap:>12.2e}"
            f" {f.messages:>14}"
        )
    return "\n".join(lines)


def figures_of(graph: Graph) -> GraphFigures:
    """Return the figures of a strongly connected graph."""
    return GraphFigures(
        diameter(graph),
        _range([len(targets) for targets in graph.outgoing]),
        _range([len(sources) for sources in graph.incoming]),
        spectral_gap(column_stochastic(graph)),
        graph.messages,
    )


def _range(degrees: Sequence[int]) -> str:
    low, high = min(degrees), max(degrees)
    return str(low) if low == high else f"{low}-{high}"


def draw(graphs: Mapping[str, Graph], out: str) -> None:
    """Draw the graphs side by side: ranks on a circle, an arrow for each edge, darker for more incoming messages.

    Raises
    ------
    ValueError
        For an unknown suffix of `out`, which sets the format.
    OSError
        If `out` cannot be written.
    """
    # Not pyplot: it would ask for a window system and change global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(PICTURES_IN_A_ROW, max(1, len(graphs)))
    rows = -(-max(1, len(graphs)) // columns)
    figure = Figure(figsize=(3 * columns, 3.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, graph) in zip(axes, graphs.items(), strict=False):
        _draw_one(axis, name, graph)
    kind = Path(out).suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(f"{out}: unknown suffix; known: {', '.join(sorted(known))}")
    image = io.BytesIO()
    figure.savefig(image, format=kind, dpi=150)
    write_whole(Path(out), image.getvalue())


def _draw_one(axis: Any, name: str, graph: Graph) -> None:
    angles = [2 * math.pi * rank / graph.size for rank in range(graph.size)]
    places = [(math.sin(angle), math.cos(angle)) for angle in angles]
    arrow = {"arrowstyle": "-|>", "color": "#0072B2", "alpha": 0.5, "linewidth": 0.8, "shrinkA": 6, "shrinkB": 6}
    for rank, targets in enumerate(graph.outgoing):
        for target in targets:
            axis.annotate("", places[target], places[rank], arrowprops=arrow)
    most = max(1, max(map(len, graph.incoming)))
    shade = [len(sources) / most for sources in graph.incoming]
    axis.scatter(*zip(*places, strict=True), c=shade, cmap="Blues", vmin=-0.5, vmax=1, s=90, edgecolors="black")
    if graph.size <= MAX_LABELLED:
        for rank, (x, y) in enumerate(places):
            axis.text(1.16 * x, 1.16 * y, str(rank), ha="center", va="center", fontsize=7)
    axis.set_title(f"{name}: diameter {diameter(graph)}, {graph.messages} messages", fontsize=9)
    axis.set_xlim(-1.3, 1.3)
    axis.set_ylim(-1.3, 1.3)
    axis.set_aspect("equal")
