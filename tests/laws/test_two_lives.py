"""Two lives of one job write checkpoints at once: the later one's committed checkpoints stay, in every order."""

import json
import os
import random
import shutil
import threading

from mpiopt.resilience.checkpoint import folder as folder_module
from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.resilience.lease import FolderLease, read_lease

OPERATIONS = ("open", "rename", "replace", "unlink", "listdir")
SAVES = 3  # of each life
SEEDS = int(os.environ.get("LIVES", "200"))  # orders that are tried


class Turns:
    """Two threads take turns before each call of the operating system on their folder; a seed draws their lengths."""

    def __init__(self, seed):
        self._rng, self._condition = random.Random(seed), threading.Condition()
        self._alive, self._next, self._left = {"A", "B"}, "A", 1

    def step(self):
        me = threading.current_thread().name
        if me not in ("A", "B"):
            return
        with self._condition:
            self._pass_on()
            assert self._condition.wait_for(lambda: self._next == me, 30)

    def leave(self):
        with self._condition:
            self._alive.discard(threading.current_thread().name)
            self._pass_on()

    def _pass_on(self):
        self._left -= 1
        if self._alive and (self._left <= 0 or self._next not in self._alive):
            self._next = self._rng.choice(sorted(self._alive))
            self._left = self._rng.choice((1, 1, 2, 4, 8, 16, 32))  # a life may sleep while the other saves
        self._condition.notify_all()


class AtOnce:
    """A thread that does its work when it is started: its steps are those of the life that starts it."""

    def __init__(self, target, args, name):
        self._work = lambda: target(*args)

    def start(self):
        self._work()

    def join(self):
        return


def live(files, name, committed):
    """Save some checkpoints as rank 0 does; note those that are committed."""
    for i in range(SAVES):
        try:
            number = files.reserve()
        except OSError:
            return
        shard = files.folder / f"{number:06d}.shard-0-of-1.h5"
        try:
            os.close(os.open(shard, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            files.partial(number).write_text(f"{name} {i} {shard.name}")
            files.commit(number)
        except OSError:
            files.abandon(number)
        else:
            committed.append((number, f"{name} {i} {shard.name}"))


def whole(folder, number, content):
    path = folder / f"{number:06d}.h5"
    return path.exists() and path.read_text() == content and (folder / content.split()[-1]).exists()


def both_live(folder, seed, monkeypatch):
    """Let life B begin while life A saves; return what each has committed."""
    turns = Turns(seed)
    with monkeypatch.context() as patch:
        for operation in OPERATIONS:
            patch.setattr(os, operation, stepping(turns, getattr(os, operation)))
        patch.setattr(FolderLease, "check", stepping(turns, FolderLease.check))
        patch.setattr(folder_module.threading, "Thread", AtOnce)
        committed = {"A": [], "B": []}
        lives = {"A": CheckpointFolder(folder), "B": CheckpointFolder(folder)}
        lives["A"].claim()

        def main(name):
            try:
                live(lives[name], name, committed[name])
            finally:
                turns.leave()

        threads = [REAL_THREAD(target=main, args=[name], name=name) for name in "AB"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return committed


REAL_THREAD = threading.Thread


def stepping(turns, whole_operation):
    def call(*arguments, **named):
        turns.step()
        return whole_operation(*arguments, **named)

    return call


def check(folder, seed, monkeypatch):
    folder.mkdir()
    committed = both_live(folder, seed, monkeypatch)
    assert json.loads((folder / "owner").read_text())["number"] == read_lease(folder).number == 2, "B has the lease"
    newest = CheckpointFolder(folder).committed()[0]
    if committed["B"]:
        assert len(committed["B"]) == SAVES, "nothing of A's stops B"
        for number, content in committed["B"][-2:]:
            assert whole(folder, number, content), f"seed {seed}: B's checkpoint {number} is gone or changed"
        assert newest == committed["B"][-1][0]
    numbers = [number for each in committed.values() for number, _ in each]
    assert len({*numbers}) == len(numbers), f"seed {seed}: two lives have committed the same number"


def test_the_later_lifes_checkpoints_stay_in_every_order(tmp_path, monkeypatch):
    for seed in range(SEEDS):
        check(tmp_path / "run.ckpt", seed, monkeypatch)
        shutil.rmtree(tmp_path / "run.ckpt")
