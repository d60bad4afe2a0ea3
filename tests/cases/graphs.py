"""What messages along a graph must do over threads and over MPI; each case is called on all ranks."""

import numpy as np
import pytest
from hypothesis import strategies as st

from mpiopt.consensus.digraph import from_edges
from mpiopt.consensus.topologies.base import Topology

NAMES = [name for name in Topology.known() if name != "file"]
DTYPES = (np.float64, np.float32, np.int16, np.bool_, [("a", "<i4"), ("b", "<f8")])


@st.composite
def strongly_connected(draw, most):
    """Draw any directed graph that contains a ring through all its ranks."""
    size = draw(st.integers(1, most))
    order = draw(st.permutations(range(size)))
    ranks = st.integers(0, size - 1)
    more = draw(st.lists(st.tuples(ranks, ranks), max_size=3 * size))
    return from_edges([*zip(order, [*order[1:], order[0]], strict=True), *more], size)


def neighbours_of(comm, name, **options):
    graph = Topology.make(name).graph(comm.size)
    return graph, comm.graph(graph.outgoing[comm.rank], **options)


def filled(shape, dtype, rank):
    x = np.zeros(shape, dtype)
    x.view(np.uint8)[...] = rank % 2 if dtype == np.bool_ else rank + 1
    return x


def neighbours_are_those_of_the_graph(comm):
    for name in NAMES:
        graph, neighbours = neighbours_of(comm, name)
        assert (neighbours.rank, neighbours.size) == (comm.rank, comm.size)
        assert neighbours.outgoing == graph.outgoing[comm.rank]
        assert neighbours.incoming == graph.incoming[comm.rank]


def exchange_gives_what_the_sources_sent(comm):
    for name in NAMES:
        graph, neighbours = neighbours_of(comm, name)
        for dtype in DTYPES:
            for shape in ((3,), (2, 5), (0,)):
                got = neighbours.exchange(filled(shape, dtype, comm.rank), tag=7)
                assert tuple(got) == graph.incoming[comm.rank]
                for source, x in got.items():
                    assert x.dtype == np.dtype(dtype)
                    assert x.shape == shape
                    assert x.tobytes() == filled(shape, dtype, source).tobytes()


def exchange_takes_numbers_and_strides(comm):
    _, neighbours = neighbours_of(comm, "exponential")
    assert neighbours.exchange(np.array(comm.rank + 0.5)) == {s: s + 0.5 for s in neighbours.incoming}
    x = np.arange(12.0).reshape(3, 4) + comm.rank
    for source, got in neighbours.exchange(x.T).items():
        assert np.array_equal(got, (np.arange(12.0).reshape(3, 4) + source).T)
        got += 1  # belongs to the receiver
    assert np.array_equal(x, np.arange(12.0).reshape(3, 4) + comm.rank)


def started_exchanges_may_overlap(comm):
    for name in ("ring", "complete", "random-k"):
        _, neighbours = neighbours_of(comm, name)
        other = comm.graph(neighbours.outgoing)
        x = np.full(1000, float(comm.rank))
        pending = [neighbours.start_exchange(x + 100 * k, tag=k) for k in range(3)]
        x[:] = np.nan  # start_exchange has copied it
        while comm.rank % 2 and not pending[2].poll():
            pass
        between = other.exchange(np.array([comm.rank]))
        now = neighbours.exchange(np.array([comm.rank]), tag=9)
        assert comm.max(np.array([comm.rank]))[0] == comm.size - 1
        order = (2, 0, 1) if comm.rank % 2 else (0, 1, 2)
        for k in order:
            got = pending[k].wait()
            assert pending[k].poll()
            assert pending[k].wait() is got
            assert all(np.all(part == source + 100 * k) for source, part in got.items())
        assert between == now == {s: s for s in neighbours.incoming}


def lengths_may_differ_where_they_are_told(comm):
    for name in NAMES:
        _, neighbours = neighbours_of(comm, name)
        for tail in ((), (3,)):
            got = neighbours.exchange_any(np.full((comm.rank * 2 % 5, *tail), float(comm.rank)))
            for source, part in got.items():
                assert part.shape == (source * 2 % 5, *tail)
                assert np.all(part == source)
            assert tuple(got) == neighbours.incoming


def what_is_sent_is_counted(comm):
    graph, neighbours = neighbours_of(comm, "star")
    degree, before = len(graph.outgoing[comm.rank]), (comm.bytes_sent, comm.messages)
    neighbours.exchange(np.zeros(10))
    neighbours.start_exchange(np.zeros(5, np.float32)).wait()
    neighbours.exchange_any(np.zeros(comm.rank, np.uint8))
    assert neighbours.bytes_sent == degree * (80 + 20 + comm.rank)
    assert neighbours.messages == 3 * degree
    assert (comm.bytes_sent - before[0], comm.messages - before[1]) == (neighbours.bytes_sent, neighbours.messages)


def wrong_neighbours_are_an_error_on_all_ranks(comm):
    last = comm.rank == comm.size - 1
    for wrong in ([comm.rank], [comm.size], [-1], [0, 0]):
        with pytest.raises(ValueError, match="neighbours"):
            comm.graph(wrong if last else [])
    comm.barrier()


CASES = [
    neighbours_are_those_of_the_graph,
    exchange_gives_what_the_sources_sent,
    exchange_takes_numbers_and_strides,
    started_exchanges_may_overlap,
    lengths_may_differ_where_they_are_told,
    what_is_sent_is_counted,
    wrong_neighbours_are_an_error_on_all_ranks,
]


def odd(comm, x, other):
    return other if comm.rank == comm.size - 1 else x


MISMATCHES = {
    "another round": lambda comm, n: n.exchange(np.zeros(3), tag=odd(comm, 4, 5)),
    "another type": lambda comm, n: n.exchange(np.zeros(3, odd(comm, np.float64, np.int64))),
    "a longer one": lambda comm, n: n.exchange(np.zeros(odd(comm, 3, 4))),
    "a shorter one": lambda comm, n: n.exchange(np.zeros(odd(comm, 3, 2))),
    "another type of any length": lambda comm, n: n.exchange_any(np.zeros(3, odd(comm, np.float64, np.int64))),
    "another round of any length": lambda comm, n: n.exchange_any(np.zeros(3), tag=odd(comm, 4, 5)),
}
