import pytest

from mpiopt.comm.oversubscription import Seat, crowd, oversubscribed
from mpiopt.comm.threads import spmd


@pytest.mark.parametrize(
    ("seats", "says"),
    [
        ([Seat("a", [0, 1], 1)] * 2, ""),
        ([Seat("a", [0], 1), Seat("a", [1], 1)], ""),
        ([Seat("a", [0], 1), Seat("b", [0], 1)], ""),
        ([Seat("a", [0, 1], 1)] * 3, "crowded: 3 ranks share 2 cores of a and take turns"),
        ([Seat("a", [0], 1)] * 2, "crowded: 2 ranks share 1 core of a"),  # all bound to the same one
        ([Seat("a", [0, 1], 2)] * 2, "crowded: 2 ranks with 4 threads share 2 cores of a"),
        ([Seat("a", [0, 1], 1)] * 3 + [Seat("b", [0], 1)] * 3, "3 ranks share 1 core of b"),
    ],
)
def test_the_most_crowded_host_is_named(seats, says):
    assert says in crowd(seats)
    assert bool(says) == bool(crowd(seats))


def test_ranks_agree():
    assert len(set(spmd(3, oversubscribed))) == 1
