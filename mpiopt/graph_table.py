"""`mpiopt list topologies --ranks P [--plot FILE.png]`: what the graphs on P ranks are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mpiopt.comm import Comm
from mpiopt.flags import Settings
from mpiopt.graph import Graph, diameter, spectral_gap
from mpiopt.jobfile import value_of
from mpiopt.selection import select
from mpiopt.topologies import Topology
from mpiopt.weights import column_stochastic

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
            from mpiopt.graph_plot import draw

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
    selection = select(text)
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
