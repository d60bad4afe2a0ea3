import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.core.config.job import parse_interval
from mpiopt.core.config.job_file import read
from mpiopt.core.durations import duration, read_duration


def test_durations_are_printed_with_the_units_that_tell():
    given = (0.0123, 99.94, 99.96, 245.2, 7380, 360_000, 7_200_000)
    assert [duration(s) for s in given] == ["0.012 s", "99.9 s", "1m40s", "4m05s", "2h03m", "4d04h", "83d08h"]


@given(st.floats(1e-3, 1e8))
def test_what_is_printed_can_be_read(seconds):
    assert read_duration(duration(seconds)) == pytest.approx(seconds, rel=0.01, abs=5e-4)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10min", 600), ("10m", 600), ("4m05s", 245), ("2h", 7200), ("1.5h", 5400), ("1d 2h", 93_600)],
)
def test_durations_are_read_in_every_place_alike(text, seconds):
    assert read_duration(text) == seconds
    assert parse_interval(text) == ("seconds", seconds)
    assert read("", [("max-seconds", text)]).stop.max_seconds == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "5 weeks", "3s2h", "3s 4s", "1h x", "-3s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="a duration must be like 30s, 10min, 4m05s, 2h03m or 1d"):
        read_duration(text)


def test_an_interval_may_be_in_rounds():
    assert parse_interval("50rounds") == ("rounds", 50.0)
    assert parse_interval("1 round") == ("rounds", 1.0)
    for text in ("0rounds", "0s", "rounds", "5"):
        with pytest.raises(ValueError, match="checkpoint_every must be like"):
            parse_interval(text)
