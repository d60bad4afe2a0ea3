"""Cut the power at every moment of some saves: make each state in which a disk may be found, and resume from it.

    python -m tests.resilience.power --count 1500 --seed 0 --out runs/power.json

The system calls of saves on two ranks are logged with their bytes. A disk promises what was synced: of the bytes
that were not, each write may be there, missing, or torn; of the names that were not (made, renamed, removed), each
may have changed, or not yet. A state is made of the log up to some call and of a choice for each of these. What is
loaded from it must be the last checkpoint that was reported as saved, or a later one.
"""

from __future__ import annotations

import collections
import itertools
import os
import random
import shutil
import sys
import tempfile
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mpiopt.comm import lockstep
from mpiopt.comm.threads import single
from mpiopt.core.files import write_whole
from mpiopt.core.seal import check_seal, sealed
from mpiopt.resilience.checkpoint.async_store import BackgroundCheckpoints
from mpiopt.resilience.checkpoint.store import Checkpoints
from tests.laws.test_checkpoints import JOB, Table, blank, shard_of, state_of
from tests.resilience.trials import main_of_tally

TOTAL, SAVES, RANKS = 37, 6, 2
FORMS = ("parallel", "sharded", "background", "result")
FAULTS = ("lost", "wrong", "error")
TORN = 512  # bytes: a disk writes its sectors whole
ENOUGH = 5000  # states in a row that were made before: there are no others


@dataclass
class Write:
    """Bytes that were written at a place, or with `start` -1 all that a file then had."""

    inode: int
    start: int
    content: bytes


@dataclass
class Name:
    """A name that was made, renamed or removed: `old` then no longer means the file, and `new` does."""

    inode: int
    old: str = ""
    new: str = ""


@dataclass
class Sync:
    """A file, or with `inode` -1 the folder, is on the disk."""

    inode: int


@dataclass
class Saved:
    """Save number k was reported as done."""

    k: int


@dataclass
class Log:
    """The system calls of threads on one folder, in order; they are made one at a time."""

    folder: str
    entries: list = field(default_factory=list)
    names: dict = field(default_factory=dict)  # by name: the inode that the program sees
    handles: dict = field(default_factory=dict)
    count: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def patch(self, monkeypatch):
        for name in ("open", "close", "pwrite", "fsync", "rename", "replace", "unlink"):
            monkeypatch.setattr(os, name, self._locked(getattr(self, f"_{name}"), getattr(os, name)))

    def _locked(self, noting, whole):
        def call(*arguments, **named):
            with self.lock:
                return noting(whole, *arguments, **named)

        return call

    def _name(self, path):
        return Path(path).name if not isinstance(path, int) and str(path).startswith(self.folder) else ""

    def _open(self, whole, path, *rest, **named):
        handle = whole(path, *rest, **named)
        if str(path) == self.folder:
            self.handles[handle] = -1
        elif name := self._name(path):
            if name not in self.names:
                self.count += 1
                self.names[name] = self.count
                self.entries.append(Name(self.count, new=name))
            self.handles[handle] = self.names[name]
        return handle

    def _close(self, whole, handle):
        self.handles.pop(handle, None)
        whole(handle)

    def _pwrite(self, whole, handle, content, start):
        done = whole(handle, content, start)
        if handle in self.handles:
            self.entries.append(Write(self.handles[handle], start, bytes(content[:done])))
        return done

    def _fsync(self, whole, handle):
        whole(handle)
        if handle in self.handles:
            self.entries.append(Sync(self.handles[handle]))

    def _rename(self, whole, old, new):
        before, after = self._name(old), self._name(new)
        if before and before not in self.names:  # written by Python's own files, without a sync
            self.count += 1
            self.names[before] = self.count
            self.entries += [Name(self.count, new=before), Write(self.count, 0, Path(old).read_bytes())]
        whole(old, new)
        if before:
            inode = self.names.pop(before)
            self.names[after] = inode
            self.entries.append(Name(inode, before, after))

    _replace = _rename

    def _unlink(self, whole, path, *rest, **named):
        whole(path, *rest, **named)
        if (name := self._name(path)) and name in self.names:
            self.entries.append(Name(self.names.pop(name), old=name))


def saves(form, folder):
    """Save some times; return the log."""
    log = Log(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        log.patch(patch)
        if form == "result":
            for k in range(1, SAVES + 1):
                write_whole(folder / "run.h5", sealed(bytes([k]) * 60000))
                log.entries.append(Saved(k))
            return log

        def rank(comm):
            shard = shard_of(comm, TOTAL)
            store = open_store(form, folder, comm)
            for k in range(1, SAVES + 1):
                store.save(k, state_of(Table, comm, shard, k), shard, {"job": JOB})
                store.finish()
                comm.barrier()
                if comm.rank == 0:
                    log.entries.append(Saved(k))
            store._files.finish()

        lockstep.spmd(RANKS, rank)
    return log


def open_store(form, folder, comm):
    return BackgroundCheckpoints(folder, comm) if form == "background" else Checkpoints(folder, comm, form)


class Disk:
    """What a disk holds after the log up to a call, where `choose` says what becomes of the rest."""

    def __init__(self, entries):
        self.files, self.names = collections.defaultdict(bytearray), {}  # what is there for certain
        self.writes, self.changes = collections.defaultdict(list), []  # what is not on the disk for certain
        self.saved = 0
        for entry in entries:
            if isinstance(entry, Write):
                self.writes[entry.inode].append(entry)
            elif isinstance(entry, Name):
                self.changes.append(entry)
            elif isinstance(entry, Saved):
                self.saved = entry.k
            elif entry.inode == -1:
                for change in self.changes:
                    rename(self.names, change)
                self.changes = []
            else:
                for write in self.writes.pop(entry.inode, []):
                    put(self.files[entry.inode], write.start, write.content)

    def doubtful(self):
        """Return all that may be there or not."""
        return [write for each in self.writes.values() for write in each] + self.changes

    def state(self, choices):
        """Return the folder as names and contents, for a choice for each doubtful thing: 1, 0, or a share."""
        doubtful = iter(choices)
        files = {inode: bytearray(content) for inode, content in self.files.items()}
        for inode, writes in self.writes.items():
            for write in writes:
                part = int(next(doubtful) * len(write.content))
                part = part if part == len(write.content) else part // TORN * TORN
                put(files.setdefault(inode, bytearray()), write.start, write.content[:part])
        names = dict(self.names)
        for change in self.changes:
            if next(doubtful) >= 0.5:
                rename(names, change)
        return {name: bytes(files.get(inode, b"")) for name, inode in names.items()}


def put(file, start, content):
    if content:
        file.extend(bytes(max(0, start + len(content) - len(file))))
        file[start : start + len(content)] = content


def rename(names, change):
    if change.old and names.get(change.old) in (change.inode, None):
        names.pop(change.old, None)
    if change.new:
        names[change.new] = change.inode


def states(log, rng):
    """Yield (saved, folder) for different states: at each call all, none, all but one, one torn; then drawn ones."""
    disks = [Disk(log.entries[:stop]) for stop in range(1, len(log.entries) + 1)]
    first = [(disk, choices) for disk in disks for choices in systematic(len(disk.doubtful()))]
    rng.shuffle(first)
    seen, again = set(), 0
    for disk, choices in itertools.chain(first, drawn(disks, rng)):
        made = disk.state(choices)
        key = (disk.saved, *sorted((name, zlib.crc32(content)) for name, content in made.items()))
        again = again + 1 if key in seen else 0
        if not again:
            seen.add(key)
            yield disk.saved, made
        elif again > ENOUGH:
            return


def systematic(n):
    """Return choices for n doubtful things: all there, none, and all but one, which is missing or torn."""
    but_one = [[1.0] * i + [there] + [1.0] * (n - i - 1) for i in range(n) for there in (0.0, 0.5)]
    return [[1.0] * n, [0.0] * n, *but_one]


def drawn(disks, rng):
    while True:
        disk = rng.choice(disks)
        yield disk, [rng.choice((0.0, 0.5, rng.random(), 1.0)) for _ in disk.doubtful()]


def resumed(form, folder):
    """Return the number of the save that is loaded; 0 for none; an error in words."""
    if form == "result":
        return result_there(folder / "run.h5")
    comm = single()
    shard = shard_of(comm, TOTAL)
    got = blank(state_of(Table, comm, shard, 0))
    try:
        loaded = Checkpoints(folder, comm).load(lambda meta: got, shard, JOB)
    except ValueError as error:
        return str(error)
    if loaded is None:
        return 0
    want = state_of(Table, comm, shard, loaded.k)
    return loaded.k if np.array_equal(got.w, want.w) and np.array_equal(got.table, want.table) else -1


def result_there(path):
    try:
        return path.read_bytes()[0] if path.exists() and check_seal(path) else 0
    except ValueError as error:
        return str(error)


def judged(form, saved, files):
    """Make a state in a folder and resume from it; return how that ended, in words."""
    folder = Path(tempfile.mkdtemp(prefix="mpiopt-power-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        found = resumed(form, folder)
    finally:
        shutil.rmtree(folder)
    if isinstance(found, str):
        return "lost" if saved else "error"
    if found < saved:
        return "wrong" if found < 0 else "lost"
    return "the last one" if found == saved else "a later one"


def judge_form(form, count, seed):
    """Return how so many states of a form ended."""
    rng, endings = random.Random(f"{form} {seed}"), collections.Counter()
    place = Path(tempfile.mkdtemp(prefix="mpiopt-power-"))
    try:
        (place / "run.ckpt").mkdir()
        log = saves(form, place / "run.ckpt")
    finally:
        shutil.rmtree(place)
    for saved, files in itertools.islice(states(log, rng), count):
        endings[judged(form, saved, files)] += 1
    return endings


def trials(count, seed):
    """Make so many states of each form; return how they ended, by form."""
    return {form: judge_form(form, count, seed) for form in FORMS}


if __name__ == "__main__":
    sys.exit(main_of_tally(trials, FAULTS))
