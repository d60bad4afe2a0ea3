"""Faults that are put in on purpose are found: a few quick ones; `python -m tests.resilience.planted` makes all."""

import pytest

from tests.resilience import planted

QUICK = {
    "the folder is not synced": planted.by_power("parallel", 40),
    "copies in memory go before a newer checkpoint": planted.by_newer_on_disk,
    "two calls in another order": planted.by_debug_comm,
    "a sum nobody waits for": planted.by_debug_comm,
}


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_that_was_put_in_is_found(name, monkeypatch):
    monkeypatch.setitem(planted.PLANTED, name, (planted.PLANTED[name][0], QUICK[name]))
    assert planted.found(name) == "found"
