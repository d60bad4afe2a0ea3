"""Made-up clicks: their shape, and that they do not depend on the number of ranks."""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.data.formats.base import find_reader, open_source
from mpiopt.data.formats.criteo import COUNTS, FEATURES


def made(recipe, ranks):
    def main(comm):
        pieces = [*open_source(recipe, "auto", None, comm).pieces()]
        rows = [piece.rows for piece in pieces]
        numbers = [np.concatenate([getattr(part, name) for part in rows]) for name in ("indices", "values")]
        lengths = np.concatenate([np.diff(part.indptr) for part in rows])
        return [lengths, *numbers, np.concatenate([piece.label for piece in pieces])]

    return [np.concatenate(parts) for parts in zip(*spmd(ranks, main), strict=True)]


def test_clicks_have_13_counts_and_26_categories_on_any_number_of_ranks():
    recipe = "generate:criteo,n=20000,d=100000"
    assert find_reader(recipe).name == "criteo"
    assert find_reader("generate:n=5").name == "generated"
    alone = made(recipe, 1)
    for ranks in (2, 3, 5):
        for one, other in zip(alone, made(recipe, ranks), strict=True):
            np.testing.assert_array_equal(one, other)
    lengths, indices, values, label = alone
    assert len(label) == 20000
    assert lengths.max() == FEATURES
    assert lengths.mean() > FEATURES - 0.1
    ends = np.cumsum(lengths)[:-1]
    assert (np.diff(indices)[np.setdiff1d(np.arange(len(indices) - 1), ends - 1)] > 0).all()
    counts = indices < COUNTS
    assert counts.sum() == 20000 * COUNTS
    assert set(np.unique(values[~counts])) <= set(range(1, 10))
    assert values[counts].min() >= np.log(2.0)
    assert 0.1 < (label > 0).mean() < 0.4


def test_frequent_levels_follow_zipf_and_wrong_options_are_said():
    _, indices, _, _ = made("generate:criteo,n=20000,seed=1", 1)
    often = np.sort(np.bincount(indices)[COUNTS:])[::-1]
    assert often[0] > 20000 * 0.4  # the first of three levels
    assert (often == 1).sum() > 50_000  # of ten million levels most are seen once
    with pytest.raises(ValueError, match=r"criteo: d must be at least 39 and below 2\^31, not 38"):
        made("generate:criteo,d=38", 1)
