import math

import pytest

from mpiopt.algorithms import cost_model
from mpiopt.algorithms.cost_model import Size, choose

ALL = ("lbfgs", "newton", "newton-cg", "saga")
TEXT = Size(20000, 50_000, 1, 2_000_000, True, 2, 1e-6, False, True, condition=5000.0)
SMALL = Size(20000, 9, 1, 180000, False, 2, 1e-6, True, True)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (SMALL, "newton"),  # least squares in a few columns: the normal equations
        (SMALL._replace(tol=1e-12), "newton"),
        (SMALL._replace(unknowns=50_000, numbers=2_000_000, sparse=True, quadratic=False), "lbfgs"),  # text
        (TEXT, "lbfgs"),  # rows of length 1
        (TEXT._replace(condition=1e6), "newton-cg"),  # raw counts
        (SMALL._replace(unknowns=50_000, numbers=2_000_000, sparse=True, smooth=False), "saga"),  # text with l1
        (SMALL._replace(unknowns=1000, numbers=20000 * 1000, quadratic=False), "lbfgs"),  # d³ and N·d² are too much
    ],
)
def test_the_cheapest_is_chosen(size, wanted):
    name, why = choose(size, ALL if size.smooth else set(ALL) - {"newton-cg"})
    assert name == wanted
    assert why.startswith(f"algorithm {wanted}; estimated: {wanted} ")


@pytest.mark.parametrize(
    "change",
    [
        {"unknowns": 50_000, "numbers": 2_000_000, "sparse": True},  # text
        {"unknowns": 8000, "rows": 3000, "numbers": 24_000_000},  # dense, more columns than rows
        {"unknowns": 8000, "outputs": 10, "numbers": 20000 * 800},  # classes
    ],
)
@pytest.mark.parametrize("quadratic", [True, False])
def test_a_working_set_is_chosen_with_l1_and_many_columns_only(change, quadratic):
    if quadratic and "outputs" in change:
        return  # no such loss
    size = SMALL._replace(quadratic=quadratic, **change)
    assert choose(size._replace(smooth=False), (*ALL, "working-set"))[0] == "working-set"
    assert "working-set" not in choose(size, (*ALL, "working-set"))[1]


@pytest.mark.parametrize("ranks", [1, 2, 4, 16])
@pytest.mark.parametrize("columns", [4, 9, 50])
def test_the_choice_does_not_follow_the_number_of_ranks_where_estimates_are_alike(ranks, columns):
    size = SMALL._replace(unknowns=columns, rows=4000, numbers=4000 * columns, quadratic=False)
    assert choose(size._replace(ranks=ranks), ALL)[0] == choose(size, ALL)[0]


@pytest.mark.parametrize(("newton", "wanted"), [(2.5, "newton"), (10.0, "lbfgs")])
def test_an_algorithm_that_exchanges_make_much_dearer_is_not_chosen(newton, wanted, monkeypatch):
    known = {"newton": lambda size: newton if size.ranks > 2 else 1.0, "lbfgs": lambda size: 2.0}
    monkeypatch.setattr(cost_model, "models", lambda: known)
    assert choose(SMALL._replace(ranks=16), ("newton", "lbfgs"))[0] == wanted


def test_newton_is_chosen_where_inexact_steps_are_bad():
    size = SMALL._replace(unknowns=120, rows=8000, numbers=8000 * 120, quadratic=False)
    assert choose(size, ALL)[0] == "lbfgs"
    assert choose(size._replace(rough=cost_model.PASSES.rough_hinge), ALL)[0] == "newton"
    assert not cost_model.is_worth_a_try(size._replace(smooth=False, rough=2.0), 1e9)


def test_the_sample_of_newton_cg_costs_a_matrix_over_all_classes_where_they_are_coupled():
    letters = Size(5000, 17 * 26, 26, 120_000, False, 1, 1e-6, False, True)
    assert cost_model.newton_cg_sample(letters) == math.inf
    assert cost_model.newton_cg_sample(letters._replace(unknowns=17 * 4, outputs=4)) < 10.0


def test_near_the_optimum_newton_takes_few_rounds():
    size = SMALL._replace(quadratic=False)
    assert [cost_model.newton_rounds(size._replace(start=start)) for start in (1.0, 0.1, 1e-3, 1e-5)] == [5, 3, 1, 1]


def test_only_what_is_able_is_chosen():
    assert choose(SMALL, ["lbfgs", "saga"])[0] != "newton"
    assert choose(SMALL, ["saga"])[0] == "saga"


def test_more_ranks_never_cost_more_work():
    for name in ALL:
        estimate = getattr(cost_model, name.replace("-", "_"))
        large = Size(10**8, 100, 1, 10**10, False, 1, 1e-6, False, True)
        assert estimate(large._replace(ranks=64)) < estimate(large) / 50


def test_a_dear_exchange_counts_in_the_choice():
    size = Size(2000, 9948, 1, 96790, True, 4, 1e-6, False, True, condition=16608.0)  # rcv1
    assert choose(size, ALL)[0] == "newton-cg"  # fast work, many exchanges
    assert choose(size.with_link(1e-3, 8e-8), ALL)[0] == "lbfgs"  # 100 Mbit/s, 1 ms


@pytest.mark.parametrize(("latency", "wanted"), [(0.0, 20e-6), (5e-6, 20e-6), (30e-6, 20e-6), (1.1e-3, 1.28e-3)])
def test_prices_are_rounded_and_never_below_those_of_this_machine(latency, wanted):
    size = SMALL.with_link(latency, 1e-10)
    assert (size.latency, size.byte) == (pytest.approx(wanted), SMALL.byte)
