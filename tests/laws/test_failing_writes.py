"""The k-th operation of a save fails, for every k: one line on all ranks, and the last checkpoint is whole."""

import contextlib
import errno
import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.resilience.checkpoint.async_store import BackgroundCheckpoints
from mpiopt.resilience.checkpoint.store import Checkpoints
from tests.laws.test_checkpoints import JOB, Table, shard_of, state_of

TOTAL = 37
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EINTR)
OPERATIONS = ("open", "pwrite", "fsync", "close", "rename")
FORMS = ("parallel", "sharded", "background")


def path_of(first):
    """Return the path of a file by its number or its name; /proc may miss a number for a moment among threads."""
    for _ in range(100 if isinstance(first, int) else 0):
        with contextlib.suppress(FileNotFoundError):
            return os.readlink(f"/proc/self/fd/{first}")
    return str(first)


class Failing:
    """Calls of the operating system of which the k-th, on a path below a folder, fails; `seen` counts them."""

    def __init__(self, monkeypatch, folder, operation, k, code):
        self.folder, self.k, self.code, self.seen, self.short = str(folder), k, code, 0, False
        self._lock, self._whole, self._name = threading.Lock(), getattr(os, operation), operation
        monkeypatch.setattr(os, operation, self)

    def __call__(self, first, *rest, **named):
        path = path_of(first)
        if not path.startswith(self.folder):
            return self._whole(first, *rest, **named)
        with self._lock:
            self.seen += 1
            fails = self.seen == self.k
        if fails and self.short:  # half of the bytes are written, which is no error
            content, start = rest
            return self._whole(first, content[: len(content) // 2], start)
        if fails and self._name == "close":
            self._whole(first, *rest, **named)
        if fails:
            raise OSError(self.code, os.strerror(self.code), path)
        return self._whole(first, *rest, **named)


def open_store(folder, comm, form):
    return BackgroundCheckpoints(folder, comm) if form == "background" else Checkpoints(folder, comm, form)


def save(folder, form, key, size=2):
    def main(comm):
        shard = shard_of(comm, TOTAL)
        store = open_store(folder, comm, form)
        store.save(key, state_of(Table, comm, shard, key), shard, {"job": JOB})
        store.finish()

    spmd(size, main)


def newest(folder, size=2):
    def main(comm):
        shard = shard_of(comm, TOTAL)
        got = state_of(Table, comm, shard, 0)
        loaded = Checkpoints(folder, comm).load(lambda meta: got, shard, JOB)
        want = state_of(Table, comm, shard, loaded.k)
        np.testing.assert_array_equal(got.table, want.table)
        np.testing.assert_array_equal(got.w, want.w)
        return loaded

    return spmd(size, main)[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_of_a_save_may_fail(tmp_path, form, operation, monkeypatch):
    folder = tmp_path / "run.ckpt"
    save(folder, form, 1)
    for k in itertools.count(1):
        with monkeypatch.context() as patch:
            failing = Failing(patch, folder, operation, k, CODES[k % len(CODES)])
            try:
                save(folder, form, 2)
            except OSError as error:
                text = str(error)
                assert text.removeprefix("rank 0: ").removeprefix("rank 1: ").startswith("cannot write"), text
                assert os.strerror(failing.code) in text
                assert "\n" not in text
            else:
                assert failing.seen < k, "an error was swallowed"
                break
        loaded = newest(folder)
        assert (loaded.k, loaded.notes) == (1, ())
    assert k > 1
    assert (newest(folder).k, newest(folder).notes) == (2, ())
    left = {path.name.partition(".")[0] for path in folder.iterdir()} - {"owner"}
    assert len(left) == 2, "what failed was not removed"


@pytest.mark.parametrize("form", FORMS)
def test_a_short_write_is_finished(tmp_path, form, monkeypatch):
    for k in (1, 2, 5):
        with monkeypatch.context() as patch:
            Failing(patch, tmp_path / "run.ckpt", "pwrite", k, 0).short = True
            save(tmp_path / "run.ckpt", form, k)
        assert newest(tmp_path / "run.ckpt").k == k


class Log:
    """What a save asks of the operating system, in order: (operation, path)."""

    def __init__(self, monkeypatch, folder):
        self.entries = []
        for operation in ("pwrite", "fsync", "rename"):
            monkeypatch.setattr(os, operation, self._noting(operation, getattr(os, operation), str(folder)))

    def _noting(self, operation, whole, folder):
        def call(first, *rest):
            path = path_of(first)
            if path.startswith(folder):
                self.entries.append((operation, path))
            return whole(first, *rest)

        return call


def not_on_disk(entries, folder):
    """Return what a power cut could take of a checkpoint after a rename has shown it."""
    dirty, lost = set(), set()
    for i, (operation, path) in enumerate(entries):
        if operation == "pwrite":
            dirty.add(path)
        elif operation == "fsync":
            dirty.discard(path)
        elif path.endswith(".h5.partial"):
            lost |= dirty
            if ("fsync", str(folder)) not in entries[i:]:
                lost.add(str(folder))
    return lost


@pytest.mark.parametrize("form", FORMS)
def test_all_is_on_the_disk_before_a_rename_shows_it(tmp_path, form, monkeypatch):
    folder = tmp_path / "run.ckpt"
    log = Log(monkeypatch, folder)
    save(folder, form, 1)
    assert ("rename", f"{folder}/000001.h5.partial") in log.entries
    assert not not_on_disk(log.entries, folder)
    written = {Path(path).name for operation, path in log.entries if operation == "pwrite"}
    assert len(written) == (1 if form == "parallel" else 3)


def test_a_missing_fsync_would_be_found():
    rename, done = ("rename", "f/1.h5.partial"), ("fsync", "f")
    assert not_on_disk([("pwrite", "f/1.h5.partial"), rename, done], "f") == {"f/1.h5.partial"}
    assert not_on_disk([("pwrite", "f/s"), ("fsync", "f/s"), rename], "f") == {"f"}
