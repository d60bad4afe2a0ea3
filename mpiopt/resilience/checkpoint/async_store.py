"""Checkpoints that are written while the run goes on: a copy of the state, a thread on each rank, the sharded form.

Every rank's thread writes its file, then, beside it, one that tells the CRC-32 of each slab, or what went wrong. The
thread of rank 0 waits until all have told, and commits as `Checkpoints` does: the manifest is renamed into place when
every rank's file is on the disk. No MPI is called outside the main thread. What fails reaches the run at the next
save, or at the end. *Price:* a copy of the state, and a run that is killed loses what was under way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.files import cause
from mpiopt.data.shard import Shard
from mpiopt.resilience.checkpoint.header import Meta
from mpiopt.resilience.checkpoint.slabs import Slab
from mpiopt.resilience.checkpoint.store import Checkpoints, LoadedCheckpoint
from mpiopt.resilience.checkpoint.writers import head_of, manifest, shard_names, write_shard

PAUSE = 0.02  # seconds between two looks for what the others tell


@dataclass(frozen=True, eq=False)
class Saving:
    """One checkpoint under way."""

    number: int
    path: Path
    k: int
    slabs: list[Slab]  # copies, in the order of the sequence
    places: NDArray[np.int64]  # (ranks, slabs, 2) start and stop
    total: int
    meta: Meta


class BackgroundCheckpoints(Checkpoints):
    """As `Checkpoints` in the sharded form, with a `save` that returns when the state is copied; collective."""

    def __init__(self, folder: str | Path, comm: Comm, warn: Callable[[str], object] = lambda line: None) -> None:
        super().__init__(folder, comm, "sharded", warn)
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._told, self._given_up = threading.Event(), threading.Event()

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Copy the state as it is before round k, and write it behind the rounds that follow.

        Raises
        ------
        OSError
            On all ranks, one line: the save before, or the start of this one, failed.
        """
        self.finish()
        mine = self.slabs(state, shard)
        number = self.begin(mine)
        here = np.array([[[s.start, s.stop] for s in mine]], np.int64).reshape(1, len(mine), 2)
        places = np.concatenate(self.comm.allgather(here))
        path = self._slots.path(number)
        saving = Saving(number, path, k, [_copied(s) for s in mine], places, shard.total, dict(meta))
        self._told, self._given_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, args=[saving], name="checkpoint", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the save under way, if any, is committed; OSError on all ranks if it failed; collective."""
        if self._thread is None:
            return
        self._told.wait()
        try:
            self.comm.agree(None if self.comm.rank == 0 else self._failure)  # a rank that could not even tell
        except OSError:
            self._given_up.set()
            self._end()
            raise
        self.comm.agree(self._end())

    def _end(self) -> OSError | None:
        if self._thread is not None:
            self._thread.join()
        self._thread, failure, self._failure = None, self._failure, None
        return failure

    def give_up(self) -> None:
        """Let the thread end; a checkpoint that all ranks have told of may still be put in place."""
        self._given_up.set()
        self._end()

    def check(self) -> None:
        """Finish what is under way; then as `Checkpoints`."""
        self.finish()
        super().check()

    def release(self, ending: str, code: int = 0) -> None:
        """Finish what is under way; then as `Checkpoints`."""
        self.finish()
        super().release(ending, code)

    def load(self, blank_state: object, shard: Shard, job: str) -> LoadedCheckpoint | None:
        """Finish what is under way; then as `Checkpoints`."""
        self.finish()
        return super().load(blank_state, shard, job)

    def _write(self, saving: Saving) -> None:
        mine = self._shards(saving)[self.comm.rank]
        try:
            told: dict[str, object] = {"checksums": write_shard(mine, saving.slabs)}
        except Exception as failure:  # whatever it is, the others wait to hear of it
            told = {"error": f"cannot write {mine}: {cause(failure)}"}
        try:
            _tell(mine, told)
        except OSError as failure:
            self._failure = OSError(f"cannot write {mine}: {cause(failure)}")
        self._told.set()
        if self.comm.rank == 0:
            self._commit(saving)

    def _commit(self, saving: Saving) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            self._put_in_place(saving, [self._heard(path) for path in self._shards(saving)])
            for shard in self._shards(saving):
                _note(shard).unlink(missing_ok=True)
        except Exception as failure:
            self._failure = failure if isinstance(failure, OSError) else OSError(str(failure))
            self._slots.abandon(saving.number)

    def _put_in_place(self, saving: Saving, told: list[Mapping[str, object]]) -> None:
        errors = [str(one["error"]) for one in told if "error" in one]
        if errors:
            raise OSError(errors[0])
        checksums = np.array([one["checksums"] for one in told], np.int64).reshape(*saving.places.shape[:2], 1)
        every = np.concatenate([saving.places, checksums], axis=2)
        files = shard_names(saving.path, self.comm.size)
        head = head_of(saving.k, saving.slabs, every, files, saving.total, saving.meta)
        Path(f"{saving.path}.partial").write_bytes(manifest(head))
        self._slots.commit(saving.number)

    def _heard(self, shard: Path) -> Mapping[str, object]:
        """Wait for what a rank tells."""
        while not _note(shard).exists():
            if self._given_up.wait(PAUSE):
                raise OSError(f"cannot write {shard}")
        heard: dict[str, object] = json.loads(_note(shard).read_text())
        return heard

    def _shards(self, saving: Saving) -> list[Path]:
        return [saving.path.with_name(name) for name in shard_names(saving.path, self.comm.size)]


def _copied(slab: Slab) -> Slab:
    rows = np.array(slab.rows) if slab.inverse is None else np.take(slab.rows, slab.inverse, axis=0)
    return replace(slab, rows=rows, inverse=None)


def _note(shard: Path) -> Path:
    return shard.with_suffix(".told")


def _tell(shard: Path, told: Mapping[str, object]) -> None:
    partial = Path(f"{_note(shard)}.partial")
    partial.write_text(json.dumps(told))
    partial.rename(_note(shard))
