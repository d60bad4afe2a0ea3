import numpy as np
import pytest

from mpiopt.results.inspect import BLOCKS, PLAIN, marks, sparkline


@pytest.mark.parametrize(
    ("encoding", "want"),
    [("utf-8", BLOCKS), ("ascii", PLAIN), ("latin-1", PLAIN), (None, PLAIN), ("nonesuch", PLAIN)],
)
def test_marks_that_the_output_can_show(encoding, want):
    assert marks(encoding) == want


def test_a_geometric_curve_is_a_straight_stair():
    assert sparkline(0.1 ** np.arange(8)) == BLOCKS[::-1]
    assert sparkline(10.0 ** np.arange(8), PLAIN) == PLAIN


def test_values_that_are_not_positive_are_drawn_as_they_are():
    assert sparkline([-1.0, 0.0, 1.0], "abc") == "abc"


def test_gaps_long_curves_and_nothing():
    assert sparkline([1.0, np.nan, 100.0, np.inf], "ab") == "a b "
    assert len(sparkline(np.arange(1.0, 1000.0))) == 50
    assert sparkline([]) == ""
    assert sparkline([np.nan, np.nan]) == "  "
    assert sparkline([3.0, 3.0], "ab") == "aa"
