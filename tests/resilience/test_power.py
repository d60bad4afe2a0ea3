"""Some states of a disk after a power cut: `python -m tests.resilience.power` makes many more."""

import os

import pytest

from tests.resilience import power

COUNT = int(os.environ.get("POWER", "60"))


@pytest.mark.parametrize("form", power.FORMS)
def test_no_power_cut_takes_the_last_committed_checkpoint(form):
    endings = power.judge_form(form, COUNT, 0)
    assert endings.total() == COUNT
    assert not set(endings) & set(power.FAULTS), endings
    assert endings["a later one"], "renames that are early were among the states"
