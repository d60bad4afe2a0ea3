"""What distributed SAGA must show on made-up data: the facts of `mpiopt study`, on small sizes and fixed seeds."""

import functools

import pytest

from mpiopt.studies.saga_facts.job import SHARDS, SagaCell, SagaStudy
from mpiopt.studies.saga_facts.simulation import fitted, solve
from mpiopt.studies.saga_facts.synthetic import make

STUDY = {"rows": 1024, "features": 16, "repeats": 1}
IID, SORTED = SHARDS


@functools.cache
def outcome(shards, ranks, local_steps, method, *steps):
    cell = SagaCell(shards, ranks, local_steps, method)
    study = SagaStudy(**STUDY, steps=steps or (1.0,), cells=(cell,))
    return solve(cell, study, problem())


@functools.cache
def problem():
    return make(STUDY["rows"], STUDY["features"], 1.0, 0)


def saga():
    return outcome(IID, 1, "n/4", "B", 0.5, 0.25)


@pytest.mark.parametrize(("shards", "ranks"), [(IID, 1), (IID, 4), (SORTED, 4)])
def test_the_rate_is_linear(shards, ranks):
    found = outcome(shards, ranks, "n/4", "B", 0.5, 0.25)
    assert found.reached
    slope, error, r2 = found.rate
    assert r2 > 0.9
    assert slope < -20 * error


def test_frequent_exchanges_cost_no_epochs():
    """H = 1 on K ranks is SAGA with blocks of K rows."""
    found = outcome(IID, 4, "1", "B", 1.0)
    assert found.last.epochs == pytest.approx(saga().last.epochs, rel=0.3)
    assert found.last.rounds == found.last.epochs * STUDY["rows"] / 4


def test_rare_exchanges_cost_few_epochs_on_shuffled_shards():
    found = outcome(IID, 4, "n/4", "B", 1.0)
    assert found.reached
    assert found.last.epochs <= 1.5 * saga().last.epochs
    assert found.last.rounds == 4 * found.last.epochs


def test_whole_epochs_between_exchanges_cost_more_and_four_of_them_too_much():
    whole, four = (outcome(IID, 4, steps, "B", 0.5, 0.25, 0.125) for steps in ("n", "4n"))
    assert whole.reached
    assert 1.5 <= whole.last.epochs / saga().last.epochs <= 4
    assert not four.reached


@pytest.mark.parametrize("local_steps", ["n/4", "n"])
@pytest.mark.parametrize("shards", SHARDS)
def test_without_correction_it_stalls(shards, local_steps):
    found = outcome(shards, 4, local_steps, "E", 1.0, 0.5, 0.25)
    assert not found.reached
    assert found.lowest > 1e-7
    b = outcome(shards, 4, local_steps, "B", 0.5, 0.25)
    late = fitted([(p.epochs, p.gap) for p in found.trace if p.epochs > 40])
    assert late.slope > 0.25 * b.rate.slope


@pytest.mark.parametrize("variant", ["A", "D"])
def test_the_corrected_variants_agree_on_shuffled_shards(variant):
    b = outcome(IID, 4, "n/4", "B", 1.0)
    assert outcome(IID, 4, "n/4", variant, 1.0).last.epochs == pytest.approx(b.last.epochs, rel=0.2)


@pytest.mark.parametrize("variant", ["A", "D"])
def test_with_one_local_step_the_corrected_variants_are_the_same(variant):
    cell = SagaCell(SORTED, 4, "1", variant)
    study = SagaStudy(**STUDY, max_epochs=1.0, steps=(1.0,), cells=(cell,))
    gaps, others = ([p.gap for p in solve(c, study, problem()).trace] for c in (cell, cell._replace(method="B")))
    assert gaps == pytest.approx(others, rel=1e-9)


def test_fresh_corrections_are_better_where_exchanges_are_rare():
    a, b, d = (outcome(SORTED, 4, "n", v, 0.5, 0.25) for v in "ABD")
    assert b.reached
    assert d.reached
    assert max(b.last.epochs, d.last.epochs) < a.last.epochs


def test_rare_exchanges_on_sorted_shards_slow_it_down_but_leave_no_floor():
    """B's line goes on for ten digits where E stays within half a digit."""
    b, e = (long_run(method).trace for method in ("B", "E"))
    late = fitted([(p.epochs, p.gap) for p in b[len(b) // 3 :]])
    assert b[-1].gap < 1e-11
    assert late.r2 > 0.98
    assert 0.3 < e[-1].gap / e[len(e) // 3].gap < 3


@functools.cache
def long_run(method):
    cell = SagaCell(SORTED, 4, "n", method)
    study = SagaStudy(**STUDY, tol=1e-11, max_epochs=150.0, steps=(0.5,), cells=(cell,))
    return solve(cell, study, problem())


def test_the_refresh_and_the_metric_are_faster_than_the_plain_form_with_the_same_step():
    plain, refresh, metric = (outcome(SORTED, 4, "n", method, 1.0) for method in ("B", "refresh", "metric"))
    assert not plain.reached
    assert refresh.reached
    assert metric.reached
    assert metric.last.epochs < refresh.last.epochs
    assert min(refresh.rate.r2, metric.rate.r2) > 0.8


@pytest.mark.parametrize("ranks", [4, 8])
def test_in_the_metric_sorted_shards_cost_no_more_than_one_rank(ranks):
    one, many = outcome(IID, 1, "n", "metric"), outcome(SORTED, ranks, "n", "metric")
    assert many.reached
    assert many.last.epochs <= 1.5 * one.last.epochs
    assert many.last.rounds <= 15
