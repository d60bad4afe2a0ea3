"""Wrong options of saga are refused in one line that says what is allowed."""

import pytest

from mpiopt.algorithms.saga.saga import Saga


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "F"}, "variant must be one of A, B, C, D, E, not 'F'"),
        ({"preconditioner": "newton"}, "preconditioner must be one of auto, none, diagonal, full"),
        ({"sampling": "cyclic"}, "sampling must be one of permutation, uniform"),
        ({"batch": -1}, "batch must be at least 0, not -1"),
        ({"exchange": "later"}, "exchange must be one of sync, overlap, timed, async, not 'later'"),
        ({"staleness": -1}, "staleness must be at least 0"),
        ({"round_seconds": -1.0}, "round_seconds must be at least 0"),
        ({"round_seconds": 0.1}, "round_seconds is for exchange 'timed' only, not for 'sync'"),
        ({"exchange": "timed", "staleness": 2}, "staleness is for exchange 'async' only, not for 'timed'"),
        ({"exchange": "async", "refresh": 0.0}, "needs refreshes"),
        ({"exchange": "async", "extrapolate": 3}, "no extrapolation"),
        ({"step_size": "linesearch"}, r"a number or one of auto, global, line-search, theoretical, not 'linesearch'"),
        ({"step_size": "harmonic"}, "not 'harmonic'"),
        ({"step_size": -1.0}, "step_size must be at least 0, not -1.0"),
        ({"step_size": float("nan")}, "step_size must be at least 0, not nan"),
        ({"step_size": "theoretical", "preconditioner": "full"}, "needs preconditioner 'auto', 'none' or 'diagonal'"),
        ({"step_size": "line-search", "exchange": "async"}, "needs exchange 'sync' or 'timed', not 'async'"),
        ({"step_size": "global", "exchange": "overlap"}, "needs exchange 'sync' or 'timed', not 'overlap'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        Saga(**options)
    assert "\n" not in str(caught.value)
