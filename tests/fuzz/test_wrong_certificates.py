"""Faults put in on purpose are caught by the judge, which calls nothing wrong without them."""

import itertools

import numpy as np
import pytest

from tests.fuzz.draw import draw
from tests.fuzz.faults import FAULTS
from tests.fuzz.judge import LIES, NAN, judge

FIRST, PROBLEMS = 50_000, 36
# Traits that make a problem hard. Without them a problem is solved today, and a fault is all that can go wrong.
HARD = {
    *("units", "offsets", "target offset", "target units", "outlying rows", "outlying targets"),
    *("wide", "nearly collinear", "separable", "quasi-separable", "zero-count dummy", "only zero counts"),
}


def plain_seeds():
    """Return seeds of problems with a penalty and without anything that makes them hard."""
    plain = (s for s in itertools.count(FIRST) if is_plain(draw(s)))
    return list(itertools.islice(plain, PROBLEMS))


def is_plain(problem):
    return problem.penalty != "none" and problem.family != "huber" and not HARD & set(problem.traits)


SEEDS = plain_seeds()


def lies(seeds):
    """Return the lines of those problems of which the fit says what is not so."""
    return [one.line() for one in map(judge, map(draw, seeds)) if one.verdict in LIES]


def is_caught(seed):
    """Return whether the judge calls a fit wrong, or the run itself saw that the model is not the certified one."""
    one = judge(draw(seed))
    return one.verdict in LIES or "RollBack" in one.reason


def test_without_a_fault_nothing_is_wrong():
    assert lies(SEEDS) == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault):
    with FAULTS[fault]():
        assert any(is_caught(seed) for seed in SEEDS), f"no problem shows {fault}"


def test_a_certificate_that_is_no_number_is_called_so():
    problem = draw(SEEDS[0])
    from tests.fuzz import judge as verdicts

    fit = verdicts.run(problem)
    for broken in ({"objective": np.nan}, {"certificate": np.nan}, {"coef": fit.coef * np.nan}):
        assert verdicts.judge_fit(problem, type(fit)(**(vars(fit) | broken))).verdict == NAN
