import pytest

from mpiopt.comm.oversubscription import Placement, describe_worst, oversubscribed
from mpiopt.comm.threads import spmd


@pytest.mark.parametrize(
    ("placements", "says"),
    [
        ([Placement("a", [0, 1], 1)] * 2, ""),
        ([Placement("a", [0], 1), Placement("a", [1], 1)], ""),
        ([Placement("a", [0], 1), Placement("b", [0], 1)], ""),
        ([Placement("a", [0, 1], 1)] * 3, "oversubscribed: 3 ranks share 2 cores of a"),
        ([Placement("a", [0], 1)] * 2, "oversubscribed: 2 ranks share 1 core of a"),  # all bound to the same one
        ([Placement("a", [0, 1], 2)] * 2, "oversubscribed: 2 ranks with 4 threads share 2 cores of a"),
        ([Placement("a", [0, 1], 1)] * 3 + [Placement("b", [0], 1)] * 3, "3 ranks share 1 core of b"),
    ],
)
def test_the_most_oversubscribed_host_is_named(placements, says):
    assert says in describe_worst(placements)
    assert bool(says) == bool(describe_worst(placements))


def test_ranks_agree():
    assert len(set(spmd(3, oversubscribed))) == 1
