"""A round that takes far too long ends the process, and says where it stands."""

import time

import pytest

from mpiopt.resilience import round_limit
from mpiopt.resilience.round_limit import RoundLimit


@pytest.fixture
def stream(tmp_path):
    with (tmp_path / "stderr").open("w+") as file:
        yield file


def watch(stream, least, prepared=0.0):
    codes = []
    limit = RoundLimit(3, prepared, {round_limit.VARIABLE: str(least)}, codes.append, stream)
    limit.codes = codes
    return limit


def waiting(limit, seconds):
    late = time.monotonic() + seconds
    while time.monotonic() < late and not limit.codes:
        time.sleep(0.01)


def test_a_round_that_never_ends_is_ended_with_its_stack(stream):
    with watch(stream, 0.2) as limit:
        limit.begin("round 7")
        waiting(limit, 20.0)
    assert limit.codes == [76]
    stream.seek(0)
    text = stream.read()
    assert text.startswith("mpiopt: rank 3: round 7 takes more than 0.2 s, 10 times the longest before; ended with")
    assert "in waiting" in text


def test_rounds_that_end_are_left_alone(stream):
    with watch(stream, 30.0) as limit:
        for k in range(5):
            limit.begin(f"round {k}")
            time.sleep(0.01)
    assert limit.codes == []
    assert limit.limit == 30.0


def test_a_long_round_or_a_long_preparation_lengthens_the_limit(stream):
    limit = watch(stream, 30.0, prepared=8.0)
    limit.begin("round 0")
    assert limit.limit == 80.0
    limit._waited = 5.0
    limit.begin("round 1")
    assert limit.limit == 50.0


def test_time_in_which_the_process_is_stopped_does_not_count(stream, monkeypatch):
    limit = watch(stream, 100.0)
    clock, waits = iter(3600.0 * k for k in range(1000)), iter([False] * 50 + [True])
    monkeypatch.setattr(round_limit.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(limit, "_over", type("Over", (), {"wait": lambda self, seconds: next(waits)})())
    limit._watch()
    assert limit.codes == []
