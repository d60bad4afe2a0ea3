"""The golden runs come out as stored, up to what another processor rounds differently."""

import json
from pathlib import Path

import pytest

from tests.golden.runs import JOBS, outcomes

STORED = json.loads(Path(__file__).with_name("runs.json").read_text())


@pytest.mark.parametrize("name", JOBS)
def test_a_golden_run_comes_out_as_stored(name):
    found, stored = outcomes([name])[name], STORED[name]
    assert found["code"] == stored["code"]
    assert found["objective"] == pytest.approx(stored["objective"], rel=1e-6)
    assert found["coef"] == pytest.approx(stored["coef"], rel=1e-2)
    assert found["epochs"] == pytest.approx(stored["epochs"], rel=0.2)
    assert found["bytes"] == pytest.approx(stored["bytes"], rel=0.2)


def test_every_golden_run_is_stored():
    assert set(JOBS) <= set(STORED)
