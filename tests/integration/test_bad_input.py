"""Bad files and folders under mpirun on 3 ranks: one clear line, code 2, no hanging rank, nothing half-written."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.resilience.campaign import PLAIN, TRAIN

RANKS = 3
CLAIM = ("run.ckpt", "owner")  # a folder that says whose checkpoints go there may stay empty


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3000, 8))
    y = np.where(x[:, 0] + rng.normal(size=3000) > 0, 1.0, -1.0)
    np.savetxt(tmp_path / "points.csv", np.column_stack([y, x]), delimiter=",", fmt="%.6g")
    return tmp_path / "points.csv"


@pytest.fixture
def refused(mpirun):
    """Return a function that runs `mpiopt …`, checks that it is refused, and returns the line of the error."""

    def run(folder, *words):
        before = sorted(p for p in folder.rglob("*") if p.name not in CLAIM)
        done = mpirun(RANKS, *TRAIN[:-1], *words, cwd=folder, seconds=100)
        assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
        told = [line for line in done.stderr.splitlines() if "mpiopt: " in line]
        lines = [line for line in told if "the run goes on" not in line]  # a checkpoint that is tried again
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "status" not in done.stdout
        after = sorted(p for p in folder.rglob("*") if p.name not in CLAIM)
        assert after == before, "something was written"
        return lines[0]

    return run


def checked(done):
    assert done.returncode in (0, 3), done.stderr
    return done


def test_truncated_hdf5(data, mpirun, refused):
    checked(mpirun(1, *TRAIN[:-1], "convert", data, "points.h5", cwd=data.parent))
    path = data.with_suffix(".h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    line = refused(data.parent, "train", path, "--out", "run.h5")
    assert "points.h5" in line
    assert "truncated" in line


def test_foreign_hdf5(data, refused):
    import h5py

    with h5py.File(data.with_suffix(".h5"), "w") as f:
        f["temperature"] = np.zeros(5)
    assert "points.h5" in refused(data.parent, "train", data.with_suffix(".h5"), "--out", "run.h5")


def test_a_checkpoint_of_another_job(data, mpirun, refused):
    words = ["train", data, *PLAIN, "--out", "run.h5"]
    checked(mpirun(RANKS, *TRAIN[:-1], *words, "--max-epochs", "3", "--tol", "1e-300", cwd=data.parent))
    line = refused(data.parent, *words, "--l2", "0.5", "--resume", "auto")
    assert "l2" in line
    assert "run.ckpt" in line


def test_a_folder_that_is_a_file(data, refused):
    assert "points.csv" in refused(data.parent, "train", data, "--out", "points.csv/run.h5")


@pytest.fixture
def small_disk():
    """Return a folder on a file system of 1 MB; skip the test if none can be mounted.

    It is not in pytest's folder, which another run of pytest may rename while this one uses it.
    """
    folder = Path(tempfile.mkdtemp(prefix="mpiopt-small-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("a file system of 1 MB can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


FIRST = ("generate:n=200000,d=5,task=binary", *PLAIN, "--checkpoint-every", "1rounds")  # 1.6 MB of table
LAST = ("generate:n=2000,d=2000,task=binary", "--algorithm", "lbfgs")  # 16 kB of model


@pytest.mark.parametrize("words", [FIRST, LAST], ids=["at a checkpoint", "at the result"])
def test_a_full_disk(small_disk, refused, words):
    with (small_disk / "filler").open("wb") as f:
        f.write(bytes(2**20 - 16384))
    line = refused(small_disk, "train", *words, "--max-epochs", "8", "--out", "run.h5")
    assert "cannot write" in line
    assert "run." in line
