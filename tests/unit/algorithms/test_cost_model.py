import pytest

from mpiopt.algorithms.cost_model import Size, choose

ALL = ("lbfgs", "newton", "saga")
SMALL = Size(20000, 9, 1, 180000, False, 2, 1e-6, True, True)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (SMALL, "newton"),  # least squares in a few columns: the normal equations
        (SMALL._replace(tol=1e-12), "newton"),
        (SMALL._replace(unknowns=50_000, numbers=2_000_000, sparse=True, quadratic=False), "lbfgs"),  # text
        (SMALL._replace(unknowns=50_000, numbers=2_000_000, sparse=True, smooth=False), "saga"),  # text with l1
        (SMALL._replace(unknowns=1000, numbers=20000 * 1000, quadratic=False), "lbfgs"),  # d³ and N·d² are too much
    ],
)
def test_the_cheapest_is_chosen(size, wanted):
    name, why = choose(size, ALL)
    assert name == wanted
    assert why.startswith(f"algorithm {wanted}; estimated: lbfgs ")


def test_only_what_is_able_is_chosen():
    assert choose(SMALL, ["lbfgs", "saga"])[0] != "newton"
    assert choose(SMALL, ["saga"])[0] == "saga"


def test_more_ranks_never_cost_more_work():
    from mpiopt.algorithms import cost_model

    for name in ALL:
        estimate = getattr(cost_model, name)
        large = Size(10**8, 100, 1, 10**10, False, 1, 1e-6, False, True)
        assert estimate(large._replace(ranks=64)) < estimate(large) / 50
