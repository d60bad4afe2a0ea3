"""A value followed through the calls seldom comes back to a file that it had left (`tools/count_returns.py`)."""

import pytest

from tools.count_returns import ROOT, Source, stays, walk


@pytest.mark.parametrize(
    ("path", "function", "value", "most"), [("algorithms/saga/saga.py", "Saga.step", "state", 5)]
)
def test_returns_are_few(path, function, value, most):
    source = Source(ROOT)
    files = stays(walk(source, source.plain[ROOT / "mpiopt" / path, function], value))
    assert len(set(files)) > 1
    assert len(files) - len(set(files)) <= most
