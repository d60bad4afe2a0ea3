"""Checkpoints that threads write while the run goes on, in the sharded form.

`save` copies the state and returns. The thread of every rank writes its shard file, and then a note beside it with
the CRC-32 of each slab, or with its error. The thread of rank 0 waits for all notes and commits as `Checkpoints`
does: it renames the manifest into place when every shard file is on the disk. The threads make no MPI calls. The run
sees an error at its next save, or at its end. *Price:* memory for a copy of the state; a run that is killed loses the
checkpoint that is being written.
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
from mpiopt.resilience.checkpoint.base import Meta
from mpiopt.resilience.checkpoint.slabs import Slab
from mpiopt.resilience.checkpoint.store import Checkpoints
from mpiopt.resilience.checkpoint.writers import (
    EXTENT,
    SavePoint,
    make_head,
    shard_names,
    write_manifest,
    write_shard,
)

POLL = 0.02  # seconds between two polls for another rank's note: short against the time that a shard file takes


@dataclass(frozen=True, eq=False)
class PendingSave:
    """One checkpoint that is being written."""

    number: int
    path: Path
    point: SavePoint
    slabs: list[Slab]  # copies, with their rows in the order of the file
    places: NDArray[np.int64]  # (ranks, slabs, 2): start and stop


class BackgroundCheckpoints(Checkpoints):
    """`Checkpoints` in the sharded form whose `save` returns once the state is copied; every method is collective."""

    def __init__(self, folder: str | Path, comm: Comm, warn: Callable[[str], object] = lambda line: None) -> None:
        super().__init__(folder, comm, "sharded", warn)
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._number = 0  # of the save that is pending, or was last
        self._noted, self._given_up = threading.Event(), threading.Event()

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Copy the state before round k, and write it during the rounds that follow.

        Raises
        ------
        OSError
            On all ranks, one line: the save before this one failed, or this one cannot start.
        """
        self.finish()
        mine = self.slabs(state, shard)
        number = self._number = self.begin(mine)
        here = np.array([[[s.start, s.stop] for s in mine]], np.int64).reshape(1, len(mine), 2)
        places = np.concatenate(self.comm.allgather(here))
        point = SavePoint(k, shard.total, dict(meta))
        pending = PendingSave(number, self._files.path(number), point, [_copied(s) for s in mine], places)
        self._noted, self._given_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, args=[pending], name="checkpoint", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the pending save, if any, is committed; OSError on all ranks if it failed."""
        if self._thread is None:
            return
        self._noted.wait()
        try:
            # On a rank other than 0 this is a failure to write its note: rank 0 would wait for the note for ever.
            self.comm.agree(None if self.comm.rank == 0 else self._failure)
        except OSError:
            self._given_up.set()
            self._join()
            raise
        try:
            self.comm.agree(self._join())
        except OSError:  # now that the threads of all ranks have ended, nothing of the checkpoint is written any more
            if self.comm.rank == 0:
                self._files.abandon(self._number)
            raise

    def _join(self) -> OSError | None:
        if self._thread is not None:
            self._thread.join()
        self._thread, failure, self._failure = None, self._failure, None
        return failure

    def give_up(self) -> None:
        """End the thread; a checkpoint for which all ranks have written their notes may still be committed."""
        self._given_up.set()
        self._join()

    def _write(self, pending: PendingSave) -> None:
        mine = self._shards(pending)[self.comm.rank]
        try:
            note: dict[str, object] = {"checksums": write_shard(mine, pending.slabs)}
        except Exception as failure:  # any error at all: rank 0 waits for this note
            note = {"error": f"cannot write {mine}: {cause(failure)}"}
        try:
            _write_note(mine, note)
        except OSError as failure:
            self._failure = OSError(f"cannot write {mine}: {cause(failure)}")
        self._noted.set()
        if self.comm.rank == 0:
            self._commit(pending)

    def _commit(self, pending: PendingSave) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            self._put_in_place(pending, [self._read_note(path) for path in self._shards(pending)])
            for shard in self._shards(pending):
                _note_path(shard).unlink(missing_ok=True)
        except Exception as failure:
            self._failure = failure if isinstance(failure, OSError) else OSError(str(failure))
            self._files.abandon(pending.number)

    def _put_in_place(self, pending: PendingSave, notes: list[Mapping[str, object]]) -> None:
        errors = [str(note["error"]) for note in notes if "error" in note]
        if errors:
            raise OSError(errors[0])
        extents = np.empty(pending.places.shape[:2], EXTENT)
        extents["start"], extents["stop"] = pending.places[..., 0], pending.places[..., 1]
        extents["checksum"] = np.array([note["checksums"] for note in notes], np.int64).reshape(extents.shape)
        head = make_head(pending.point, pending.slabs, extents, shard_names(pending.path, self.comm.size))
        write_manifest(pending.path, head)
        self._files.commit(pending.number)

    def _read_note(self, shard: Path) -> Mapping[str, object]:
        """Wait for the note of a rank, and return its content."""
        while not _note_path(shard).exists():
            if self._given_up.wait(POLL):
                raise OSError(f"cannot write {shard}")
        note: dict[str, object] = json.loads(_note_path(shard).read_text())
        return note

    def _shards(self, pending: PendingSave) -> list[Path]:
        return [pending.path.with_name(name) for name in shard_names(pending.path, self.comm.size)]


def _copied(slab: Slab) -> Slab:
    rows = np.array(slab.rows) if slab.inverse is None else np.take(slab.rows, slab.inverse, axis=0)
    return replace(slab, rows=rows, inverse=None)


def _note_path(shard: Path) -> Path:
    return shard.with_suffix(".told")


def _write_note(shard: Path, note: Mapping[str, object]) -> None:
    partial = Path(f"{_note_path(shard)}.partial")
    partial.write_text(json.dumps(note))
    partial.rename(_note_path(shard))
