"""Peaks of processes of their own: rows are in memory once while they are loaded."""

import subprocess
import sys

import numpy as np
import pytest

from mpiopt.data.growable_buffer import GrowableBuffer

LOAD = """
import sys
from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.results.summary import peak_nbytes
scale, float32 = sys.argv[2], sys.argv[3] == "1"
options = DataOptions(scale=scale, float32=float32, coordinates=sys.argv[4])
prepare(sys.argv[1].replace("SIZE", "4096"), "binary", options, 0, single())
before = peak_nbytes()
data = prepare(sys.argv[1].replace("SIZE", "120000"), "binary", options, 0, single())
print((peak_nbytes() - before) / data.shard.rows.nbytes)
"""


@pytest.mark.parametrize(
    ("recipe", "scale", "float32", "coordinates", "most"),
    [
        ("generate:n=SIZE,d=2000,density=0.05,task=binary", "none", False, "file", 1.25),
        ("generate:n=SIZE,d=2000,density=0.05,task=binary", "none", False, "standardised", 1.25),
        ("generate:n=SIZE,d=150,task=binary", "none", True, "file", 1.25),
        ("generate:n=SIZE,d=150,task=binary", "none", True, "standardised", 2.25),
        ("generate:n=SIZE,d=150,task=binary", "none", False, "standardised", 1.25),
        ("generate:n=SIZE,d=150,task=binary", "maxabs", True, "file", 2.25),
    ],
)
def test_rows_are_in_memory_once_while_they_are_loaded(recipe, scale, float32, coordinates, most):
    words = [sys.executable, "-c", LOAD, recipe, scale, str(int(float32)), coordinates]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) < most


def test_a_buffer_returns_what_was_appended_and_is_empty_then():
    buffer, rng = GrowableBuffer(np.float32), np.random.default_rng(0)
    parts = [rng.standard_normal(n) for n in (0, 3, 70_000, 1, 40_000)]
    for part in parts:
        buffer.append(part)
    with buffer.taken() as found:
        np.testing.assert_array_equal(found, np.concatenate(parts).astype(np.float32))
    with buffer.taken() as found:
        assert found.size == 0
