"""A value followed through the calls seldom comes back to a file that it had left (`tools/count_returns.py`)."""

import pytest

from tools.count_returns import ROOT, Source, stays, walk, walk_with_callers


@pytest.mark.parametrize(
    ("way", "path", "function", "value", "most"),
    [
        (walk, "algorithms/saga/saga.py", "Saga.step", "state", 9),
        (walk_with_callers, "data/dataset.py", "prepare", "path", 6),
        (walk_with_callers, "data/dataset.py", "prepare_source", "source", 12),
    ],
)
def test_returns_are_few(way, path, function, value, most):
    source = Source(ROOT)
    files = stays(way(source, source.plain[ROOT / "mpiopt" / path, function], value))
    assert len(set(files)) > 1
    assert len(files) - len(set(files)) <= most
