"""No algorithm spends more than a tenth more than stored; `auto` spends at most 1.3 times what the best one spends.

A change that is meant to cost more is accepted by `python -m tests.golden.counts --write`.
"""

import json

import pytest

from tests.cases.small_sets import small_sets
from tests.golden.counts import COUNTS, STORE, counts_of, ratios

STORED = json.loads(STORE.read_text())
WORSE = 1.1  # times the stored count, at most
ONE_MORE = {"epochs": 1.0, "passes": 1.0, "exchanges": 4.0}  # that another processor's rounding may add
LAW = 1.3  # times the cost of the best algorithm, at most
# (set, level): what `auto` may cost there. On text L-BFGS is slow first and fast at the end; on Poisson's counts it
# takes 6 epochs or 8, as the rows lie, and newton 8.
ABOVE_THE_LAW = {("unit rows of text", "1e-6"): 1.45, ("unit rows of text", "1e-9"): 1.5, ("poisson", "1e-6"): 1.4}


@pytest.fixture(scope="module", params=list(small_sets()))
def measured(request):
    return request.param, counts_of(request.param)


def worse(found, stored):
    """Return what is worse than stored, in words."""
    result = []
    for algorithm, levels in stored.items():
        for level, before in levels.items():
            now = found[algorithm][level]
            if before is None:
                continue
            if now is None:
                result.append(f"{algorithm} does not reach {level}")
                continue
            for count in COUNTS:
                if now[count] > max(WORSE * before[count], before[count] + ONE_MORE.get(count, 0.0)):
                    result.append(f"{algorithm} to {level}: {count} {before[count]:g} -> {now[count]:g}")
    return result


def test_nothing_costs_a_tenth_more_than_stored(measured):
    name, found = measured
    assert not worse(found, STORED[name])


def test_auto_costs_little_more_than_the_best_algorithm(measured):
    name, found = measured
    for level, ratio in ratios(found).items():
        assert ratio is None or ratio <= ABOVE_THE_LAW.get((name, level), LAW), level


def test_what_is_worse_is_seen():
    before = {"newton": {"1e-6": dict.fromkeys(COUNTS, 100.0), "1e-9": None}}
    same = {"newton": {"1e-6": dict.fromkeys(COUNTS, 109.0), "1e-9": None}}
    more = {"newton": {"1e-6": {**dict.fromkeys(COUNTS, 100.0), "bytes": 111.0}, "1e-9": None}}
    assert not worse(same, before)
    assert worse(more, before) == ["newton to 1e-6: bytes 100 -> 111"]
    assert worse({"newton": {"1e-6": None, "1e-9": None}}, before) == ["newton does not reach 1e-6"]
