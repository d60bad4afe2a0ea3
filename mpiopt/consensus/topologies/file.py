"""A graph from a file: an edge list, or a format that networkx reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpiopt.consensus.digraph import from_edges
from mpiopt.consensus.topologies.base import Topology

EdgePairs = list[tuple[int, int]]  # (from, to)
NETWORKX = {".gml": "read_gml", ".graphml": "read_graphml", ".adjlist": "read_adjlist"}  # suffix: reading function


@dataclass(frozen=True)
class File(Topology):
    """The graph in the file `path`: a line `a b` for each edge a → b, # begins a comment; .gml .graphml .adjlist.

    Nodes are the ranks 0 … size-1. networkx reads the three suffixes, if it is installed. The edges of an undirected
    graph go both ways. Nodes with other names are ranks in the order of the file.

    Parameters
    ----------
    path
        The file; rank 0 reads it.
    """

    name = "file"

    path: str = ""

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Read the file; ValueError if its graph does not have `size` ranks."""
        if not self.path:
            raise ValueError("topology file needs a path: file[path=graph.txt]")
        read = _read_by_networkx if Path(self.path).suffix.lower() in NETWORKX else _read_edge_list
        nodes, edges = read(Path(self.path))
        if nodes != size:
            raise ValueError(f"{self.path}: a graph on {nodes} ranks (0 to {nodes - 1}), but there are {size} ranks")
        return from_edges(edges, size).outgoing


def _read_edge_list(path: Path) -> tuple[int, EdgePairs]:
    """Return the number of nodes and the edges."""
    edges = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isascii() and word.isdecimal() for word in words):
            raise ValueError(f"{path}:{number}: an edge is two ranks, as in `0 1`, not {line.strip()[:60]!r}")
        edges.append((int(words[0]), int(words[1])))
    return 1 + max((max(edge) for edge in edges), default=0), edges


def _read_by_networkx(path: Path) -> tuple[int, EdgePairs]:
    """Return the number of nodes and the edges."""
    try:
        import networkx
    except ImportError:
        raise ValueError(
            f"{path}: reading {path.suffix} needs networkx; install it, or write an edge list, `a b` a line"
        ) from None
    reader: Any = getattr(networkx, NETWORKX[path.suffix.lower()])
    options = {"create_using": networkx.DiGraph} if path.suffix.lower() == ".adjlist" else {}
    try:
        graph: Any = reader(path, **options)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: networkx cannot read it: {error}") from None
    return _numbered(graph)


def _numbered(graph: Any) -> tuple[int, EdgePairs]:
    """Return the edges between ranks: nodes named 0 … n-1 keep their numbers, others are numbered in file order."""
    names = [str(node) for node in graph.nodes]
    own = {str(rank): rank for rank in range(len(names))}
    place = own if set(names) == set(own) else {name: rank for rank, name in enumerate(names)}
    edges = [(place[str(edge[0])], place[str(edge[1])]) for edge in graph.edges]
    return len(names), edges if graph.is_directed() else edges + [(b, a) for a, b in edges]
