"""Sums over nodes: from the sums of each node come the bits of the flat sum, on any map of nodes."""

import numpy as np
import pytest

from mpiopt.comm.nodes import Nodes, Subtree, pairwise, subtrees
from tests.cases.comm import expected_sum, vector

MAPS = ["aabb", "abbb", "aaab", "aabbccdd", "aaabbbccc", "abbcccdddd", "a" * 24 + "b" * 24, "abab", "aabbcca"]


@pytest.mark.parametrize("hosts", MAPS)
def test_the_sums_of_nodes_give_the_bits_of_the_flat_sum(hosts):
    nodes = Nodes.of(hosts)
    parts = [vector(rank, 50) for rank in range(len(hosts))]
    kept = [part.copy() for part in parts]
    rows = [row for k in range(nodes.count) for row in nodes.add_own(k, [parts[r] for r in nodes.ranks(k)])]
    want = expected_sum(len(hosts), 50).tobytes()
    assert nodes.add_all(rows).tobytes() == pairwise(np.add, parts).tobytes() == want
    assert all(part.tobytes() == before.tobytes() for part, before in zip(parts, kept, strict=True))


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [(0, 4, [(0, 2)]), (4, 6, [(4, 1)]), (3, 6, [(3, 0), (4, 1)]), (24, 48, [(24, 3), (32, 4)]), (5, 6, [(5, 0)])],
)
def test_a_block_of_ranks_is_few_subtrees(start, end, wanted):
    assert subtrees(start, end) == [Subtree(*tree) for tree in wanted]


@pytest.mark.parametrize(
    ("hosts", "matter", "adders"), [("aaaa", False, 4), ("abcd", False, 1), ("aabb", True, 2), ("abbb", True, 1)]
)
def test_nodes_matter_where_there_are_several_with_several_ranks(hosts, matter, adders):
    nodes = Nodes.of(hosts)
    assert (nodes.matter, nodes.adders) == (matter, adders)
    assert [nodes.of_rank(rank) for rank in range(4)] == [ord(h) - ord("a") for h in hosts]
