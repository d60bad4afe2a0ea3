"""Peaks of processes of their own: rows are in memory once while they are loaded."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.growable_buffer import GrowableBuffer
from mpiopt.data.row_storage import SpilledBuffers, mapped_file, memory_note

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


@pytest.mark.parametrize("fault", ["short", "error"])
def test_rows_that_cannot_be_read_back_from_their_file_are_told(tmp_path, fault):
    files = SpilledBuffers(str(tmp_path))
    buffer = files.make(np.float64)
    buffer.append(np.arange(100_000.0))

    class Broken:
        def seek(self, place):
            return place

        def readinto(self, into):
            if fault == "error":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return len(into) - 8

    files._file = Broken()
    why = "Input/output error" if fault == "error" else "shorter than what was written"
    with pytest.raises(ValueError, match=f"^--stream {tmp_path}: rows cannot be read back: .*{why}"), buffer.taken():
        pass


FIT = """
import re, resource, sys
import scipy.linalg  # OpenBLAS never comes back from its start where its buffers do not fit
from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.objective import passes
options = DataOptions(stream=sys.argv[2], float32=True)
prepare(sys.argv[1].replace("SIZE", "4096"), "binary", options, 0, single())
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_DATA, (used + 80_000_000,) * 2)
shard = prepare(sys.argv[1].replace("SIZE", "150000"), "binary", options, 0, single()).shard
norms = passes.squared_norms(shard.rows)
print(shard.rows.nbytes, norms.sum() / len(shard) / shard.features)
"""


@pytest.mark.parametrize(
    "recipe", ["generate:n=SIZE,d=150,task=binary", "generate:n=SIZE,d=3000,density=0.03,task=binary"]
)
def test_rows_in_a_file_may_be_larger_than_the_memory_that_a_process_may_take(recipe, tmp_path):
    words = [sys.executable, "-c", FIT, recipe, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    nbytes, mean = map(float, done.stdout.split())
    assert nbytes > 80_000_000
    assert 0.005 < mean < 2.0
    assert not [*tmp_path.iterdir()]
    assert " allocate " in subprocess.run([*words[:-1], ""], capture_output=True, text=True, check=False).stderr


def test_a_folder_that_takes_no_rows_is_said_in_a_line(tmp_path):
    with pytest.raises(ValueError, match=r"^--stream .*gone: is no folder; make it on a disk"):
        prepare("generate:n=5", "real", DataOptions(stream=str(tmp_path / "gone")), 0, single())
    with pytest.raises(ValueError, match=r"^--stream .*: takes no file of 1e\+09 GB: .*; name a folder on a disk"):
        mapped_file(str(tmp_path), 10**18)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw\nnone {tmp_path.resolve()} tmpfs rw\n")
    assert "lies in memory (tmpfs)" in memory_note(str(tmp_path / "inner"), str(mounts))[0]
    assert memory_note("/", str(mounts)) == ()
