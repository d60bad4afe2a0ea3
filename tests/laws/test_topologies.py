"""Laws of every topology, and of graphs and weights, against brute force."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.cli.list_topologies import figures_of, make_graphs, topology_of
from mpiopt.comm import threads
from mpiopt.consensus.digraph import (
    Graph,
    check_strongly_connected,
    components,
    diameter,
    from_edges,
    graph_of,
    spectral_gap,
)
from mpiopt.consensus.discovery import discover
from mpiopt.consensus.mixing_weights import column_stochastic, doubly_stochastic
from mpiopt.consensus.protocol_driver import run_together
from mpiopt.consensus.topologies.base import Topology, edge_list, shared_graph
from mpiopt.core.config.spec import spec_of

FAMILY = {name: kind() for name, kind in Topology.known().items() if name != "file"}
SIZES = [1, 2, 3, 4, 5, 6, 7, 12, 16, 31]
UNDIRECTED = {"ring-both", "torus", "star", "complete"}


def hops(graph):
    """Return all distances by powers of the adjacency matrix, infinite where there is no path."""
    step = np.eye(graph.size, dtype=bool)
    for rank, targets in enumerate(graph.outgoing):
        step[list(targets), rank] = True
    found = np.where(np.eye(graph.size, dtype=bool), 0.0, np.inf)
    reached = np.eye(graph.size, dtype=bool)
    for hop in range(1, graph.size):
        reached = (reached.astype(int) @ step.astype(int)) > 0
        found[reached & np.isinf(found)] = hop
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FAMILY)
def test_a_topology(name, size):
    graph = FAMILY[name].graph(size)
    assert graph.size == size
    assert graph == FAMILY[name].graph(size)
    assert diameter(graph) == hops(graph).max()
    assert graph.messages == sum(map(len, graph.incoming)) == len(edge_list(graph))
    assert all(r in graph.outgoing[s] for r, sources in enumerate(graph.incoming) for s in sources)
    assert from_edges(edge_list(graph), size) == graph
    assert graph.undirected or name not in UNDIRECTED
    it = figures_of(graph)
    assert 0.0 < it.spectral_gap <= 1.0 + 1e-9


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 10**6))
def test_a_topology_is_strongly_connected_on_any_number_of_ranks(name, size, k, seed):
    topology = Topology.make(name, {"k": k, "seed": seed} if name == "random-k" else {})
    graph = topology.graph(size)
    assert np.isfinite(hops(graph)).all()
    found, rounds, _ = run_together([discover(rank, graph.incoming[rank]) for rank in range(size)], graph)
    assert rounds == diameter(graph)
    assert all(one.graph == graph for one in found)


@pytest.mark.parametrize("name", FAMILY)
def test_options_are_written_and_read(name):
    assert topology_of(str(spec_of(FAMILY[name]))) == FAMILY[name]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FAMILY)
def test_weights(name, size):
    graph = FAMILY[name].graph(size)
    column = column_stochastic(graph)
    np.testing.assert_allclose(column.sum(axis=0), 1.0, rtol=1e-14)
    edges = {(target, rank) for rank, targets in enumerate(graph.outgoing) for target in targets}
    places = edges | {(rank, rank) for rank in range(size)}
    assert {tuple(place) for place in np.argwhere(column).tolist()} == places
    if not graph.undirected and len({*map(len, graph.outgoing), *map(len, graph.incoming)}) > 1:
        assert name == "random-k"
        with pytest.raises(ValueError, match="degrees differ"):
            doubly_stochastic(graph)
        return
    both = doubly_stochastic(graph)
    np.testing.assert_allclose(both.sum(axis=0), 1.0, rtol=1e-14)
    np.testing.assert_allclose(both.sum(axis=1), 1.0, rtol=1e-14)
    assert {tuple(place) for place in np.argwhere(both).tolist()} >= edges
    assert both.min() >= 0.0


def test_stated_facts():
    assert figures_of(FAMILY["ring"].graph(8)).diameter == 7
    assert figures_of(FAMILY["ring-both"].graph(8)).diameter == 4
    assert figures_of(FAMILY["exponential"].graph(16))[:3] == (4, "4", "4")
    assert figures_of(FAMILY["torus"].graph(16))[:2] == (4, "4")
    assert figures_of(FAMILY["star"].graph(9))[:2] == (2, "1-8")
    assert figures_of(FAMILY["complete"].graph(9))[:2] == (1, "8")
    assert figures_of(FAMILY["random-k"].graph(30)).out_degree == "2"
    assert figures_of(FAMILY["random-k"].graph(30)).in_degree != "2"
    assert spectral_gap(column_stochastic(FAMILY["complete"].graph(5))) == pytest.approx(1.0)
    lazy_ring = 1 - abs(0.5 + 0.5 * np.exp(2j * np.pi / 8))
    assert figures_of(FAMILY["ring"].graph(8)).spectral_gap == pytest.approx(lazy_ring)
    assert topology_of("random-k[seed=1]").graph(9) != FAMILY["random-k"].graph(9)


@st.composite
def digraphs(draw):
    size = draw(st.integers(1, 9))
    pairs = list(itertools.product(range(size), repeat=2))
    return from_edges(draw(st.lists(st.sampled_from(pairs), max_size=24)), size)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(digraphs())
def test_components_and_diameter_of_any_graph(graph):
    away = hops(graph)
    mutual = np.isfinite(away) & np.isfinite(away.T)
    brute = sorted({tuple(np.flatnonzero(row).tolist()) for row in mutual})
    assert [tuple(part) for part in components(graph)] == brute
    if len(brute) == 1:
        assert diameter(graph) == away.max()
        return
    with pytest.raises(ValueError, match=rf"not strongly connected: {len(brute)} components") as caught:
        check_strongly_connected(graph)
    assert "{" + " ".join(map(str, brute[0])) + "}" in str(caught.value)


def test_neighbours_that_are_none_are_refused():
    with pytest.raises(ValueError, match="rank 1 cannot send to"):
        Graph(((1,), (2,)))
    with pytest.raises(ValueError, match="rank 0 cannot send to"):
        Graph(((0,), ()))
    with pytest.raises(ValueError, match="ascending"):
        Graph(((2, 1), (0,), (0,)))
    assert graph_of([[1, 1, 0], [0]]) == Graph(((1,), (0,)))


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("torus[rows=4]", 6, "no multiple of 4"),
        ("star[hub=3]", 3, "hub must be a rank below 3, not 3"),
        ("random-k[k=0]", 3, "at least 1"),
        ("file", 3, "needs a path"),
        ("ring", 0, "at least one rank"),
    ],
)
def test_what_does_not_fit_is_refused(text, size, message):
    with pytest.raises(ValueError, match=message):
        topology_of(text).graph(size)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n1 2 # on\n\n# all\n2 0\n", None),
        ("0 1\n1 2\n", r"not strongly connected: 3 components, ranks \{0\}, \{1\}, \{2\}"),
        ("0 1\n1 0\n", "on 2 ranks .0 to 1., but there are 3"),
        ("0 1\n1 x\n", r":2: an edge is two ranks"),
        ("0 1 0.5\n", r":1: an edge is two ranks"),
        ("", "on 1 ranks"),
    ],
)
def test_edge_lists(text, message, tmp_path):
    path = tmp_path / "graph.txt"
    path.write_text(text)
    topology = Topology.make("file", {"path": str(path)})
    if message is None:
        assert topology.graph(3) == FAMILY["ring"].graph(3)
    else:
        with pytest.raises(ValueError, match=message):
            topology.graph(3)


def test_a_file_for_networkx(tmp_path):
    networkx = pytest.importorskip("networkx")
    named = networkx.DiGraph([("a", "b"), ("b", "c"), ("c", "a")])
    networkx.write_gml(named, tmp_path / "ring.gml")
    networkx.write_graphml(networkx.cycle_graph(5), tmp_path / "both.graphml")
    assert topology_of(f"file[path={tmp_path}/ring.gml]").graph(3) == FAMILY["ring"].graph(3)
    assert topology_of(f"file[path={tmp_path}/both.graphml]").graph(5) == FAMILY["ring-both"].graph(5)


def test_networkx_is_asked_for_where_it_is_needed(tmp_path):
    code = "import sys; sys.modules['networkx'] = None; from mpiopt.cli.list_topologies import topology_of;"
    code += "topology_of('file[path=a.gml]').graph(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs networkx" in done.stderr


def test_one_rank_reads_the_file_and_all_get_the_graph_or_the_error(tmp_path):
    (tmp_path / "graph.txt").write_text("0 1\n1 2\n2 0\n")
    topology = Topology.make("file", {"path": str(tmp_path / "graph.txt")})
    assert threads.spmd(3, lambda comm: shared_graph(topology, comm)) == [FAMILY["ring"].graph(3)] * 3

    def refused(comm):
        with pytest.raises(ValueError, match="there are 2 ranks"):
            shared_graph(topology, comm)
        with pytest.raises(OSError, match="nowhere"):
            shared_graph(Topology.make("file", {"path": "nowhere"}), comm)

    threads.spmd(2, refused)


def test_all_topologies_are_listed_with_the_reason_where_one_is_none():
    found = make_graphs([], 6)
    assert set(found) == set(Topology.known())
    assert "needs a path" in found["file"]
