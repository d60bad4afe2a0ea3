"""Which first lines of a table are titles: words always, whole numbers only where the rows below show it."""

import numpy as np
import pytest

from mpiopt.data.formats.titles import judge

RNG = np.random.default_rng(7)


def rows(columns, whole=(), count=40):
    """Return rows of text: fractions, but whole numbers from 0 to 1 in the columns of `whole`."""
    return [
        [str(int(RNG.integers(2))) if c in whole else f"{RNG.normal():.3f}" for c in range(columns)]
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("first", "below"),
    [
        (["a", "b", "y"], rows(3)),
        (["0", "1", "2", "3"], rows(4, whole=[3])),
        (["1", "2", "3", "4"], rows(4, whole=[3])),
        (["0", "1", "2"], rows(3, whole=[2])),
        (["0", "1", "2"], rows(3)),
        (["400", "402", "404", "406", "408"], rows(5)),
        ([str(k) for k in range(10)], [[str(int(v)) for v in RNG.integers(0, 256, 10)] for _ in range(20)]),  # pixels
        (["0", "1", "2", "label"], rows(4, whole=[3])),
        (["y", "2001", "2005", "1999"], rows(4)),
    ],
)
def test_titles(first, below):
    found = judge(first, below)
    assert found.titled
    assert ("header=no" in found.note) == any(field.isdigit() for field in first)


@pytest.mark.parametrize(
    ("first", "below"),
    [
        (["0", "1"], rows(2, whole=[1])),  # a point and its class
        (["0", "0", "1"], rows(3, whole=[2])),
        (["0.0", "1.0", "2.0"], rows(3)),
        (["-1", "0", "1"], rows(3)),
        (["1", "2", "3"], [["4", "5", "6"], ["7", "8", "9"]]),  # arange
        (["0", "1", "2", "3", "4", "5"], [["6", "7", "8", "9", "10", "11"]]),
        (["1", "2", "3"], []),
        (["1", "2", "3"], rows(3, count=5)),
        (["1", "2", "3", "4", "5"], rows(5, count=5)),
        (["3", "2", "1"], rows(3)),
        (["0", "1", "2"], [["0", "1", "2"], ["1", "1", "3"], ["2", "0", "1"]]),  # small counts
        (["1.5", "x", "2"], rows(3)),  # a row with a word: refused where it is read
        (["1", "", "2"], rows(3)),
        (["1", "NA", "2"], rows(3)),
    ],
)
def test_rows(first, below):
    assert not judge(first, below).titled


def test_a_first_row_that_could_be_titles_is_said():
    assert "header=yes" in judge(["1", "2", "3"], [["4", "5", "6"]]).note
    assert "header=yes" in judge(["0", "1", "2"], rows(3, count=5)).note
    assert judge(["0", "1"], rows(2)).note == ""
