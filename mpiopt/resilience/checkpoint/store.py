"""Checkpoints: all ranks save a state, and load it again on any number of ranks.

On the same number of ranks what was saved comes back bit by bit. On another, sharded fields are cut anew, replicated
fields come back, private ones do not. A death at any instant leaves the last committed checkpoint and the one before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import broadcast_text, run_on_root
from mpiopt.core.files import sync, try_size
from mpiopt.core.hdf5 import open_read
from mpiopt.core.state import Layout
from mpiopt.data.shard import Shard
from mpiopt.resilience.checkpoint.folder import Slots
from mpiopt.resilience.checkpoint.header import Damaged, Head, Meta, parse, read_text, refuse_other_job
from mpiopt.resilience.checkpoint.slabs import Slab, checksum, inverted, slabs
from mpiopt.resilience.checkpoint.writers import write_parallel, write_sharded

FORMS = ("auto", "parallel", "sharded")


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What came back besides the state."""

    k: int
    meta: Meta
    same_ranks: bool  # else private fields were not filled
    notes: tuple[str, ...] = ()  # one line for each newer checkpoint that was damaged and passed over


class Checkpoints:
    """The checkpoints of one run, in `folder`; every method is collective.

    `form`: "parallel" (one shared file), "sharded" (one file a rank and a manifest), or "auto": parallel where both
    the communicator and h5py have MPI, and a lost rank would be the end of all anyway (HDF5 does not survive one with
    a file open). Either form is read whatever `form` says.
    `hints` are MPI-IO's, for the shared file (striping, collective buffering).
    `warn` gets one line, on every rank, for each damaged checkpoint that a load passes over. What has a number below
    `since` is not looked at: it is of another run. `first` is the number of the first one saved here, 0 for none.
    """

    def __init__(
        self,
        folder: str | Path,
        comm: Comm,
        form: str = "auto",
        warn: Callable[[str], object] = lambda line: None,
        hints: Mapping[str, str] | None = None,
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"unknown checkpoint form {form!r}; known: {', '.join(FORMS)}")
        able = comm.raw is not None and bool(h5py.get_config().mpi) and not comm.tolerant
        if form == "parallel" and not able:
            raise ValueError("checkpoint form 'parallel' needs MPI and an h5py built with it; use 'sharded'")
        self.form = "parallel" if able and form != "sharded" else "sharded"
        self.folder = Path(folder)
        self.comm = comm
        self._warn = warn
        self.first = self.since = 0
        self._hints = hints or {}
        self._slots = Slots(self.folder)
        self._order: NDArray[np.int64] | None = None  # of the rows saved last, and its inverse
        self._inverse: NDArray[np.integer] | None = None

    def claim(self) -> None:
        """Make the folder this run's, before anything is read: a former life writes nothing there from now on.

        Raises
        ------
        OSError
            On all ranks, one line: another run is writing there, or a newer life of this one.
        """
        run_on_root(self.comm, self._slots.claim)

    def check(self) -> None:
        """Return if the folder is still this run's; OSError on all ranks if not."""
        run_on_root(self.comm, self._slots.owner.check)

    def release(self, ending: str, code: int = 0) -> None:
        """Say, in the folder, that this run has ended, how, and with which exit code; without checkpoints it goes."""

        def release() -> None:
            self._slots.finish()
            self._slots.owner.release(ending, code)

        run_on_root(self.comm, release)

    def give_up(self) -> None:
        """Let go of what is under way: a rank that had part in it is lost."""

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Save the state as it is before round k.

        `meta["job"]` is the job as TOML, with the data's checksum as one of its keys: `load` compares all keys but
        those that a resumed run may change, and no comments. The rest of `meta` is the caller's.

        Raises
        ------
        OSError
            If it cannot be written; on all ranks, one line. What was there before is untouched.
        """
        mine = self.slabs(state, shard)
        number = self.begin(mine)
        path = self._slots.path(number)
        try:
            if self.form == "parallel":
                write_parallel(path, k, mine, shard.total, meta, self.comm, self._hints)
            else:
                write_sharded(path, k, mine, shard.total, meta, self.comm)
            run_on_root(self.comm, lambda: self._slots.commit(number))
        except OSError:
            if self.comm.rank == 0:
                self._slots.abandon(number)
            raise

    def slabs(self, state: object, shard: Shard) -> list[Slab]:
        """Give this rank's slabs; the inverse of the rows' order is computed once."""
        if self._order is not shard.order:
            self._order, self._inverse = shard.order, inverted(shard.order)
        return slabs(state, shard, self.comm, self._inverse)

    def begin(self, mine: list[Slab]) -> int:
        """Agree on the number of the new checkpoint, once there is room for it."""
        needed = int(self.comm.sum(np.array([sum(s.rows.nbytes for s in mine)], np.int64))[0])
        numbers = [0]

        def begin() -> None:
            numbers[0] = self._slots.next()
            sync(self.folder.parent)
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise OSError(f"cannot write in {self.folder}: needs {needed:,} bytes, {free:,} are free")
            if self.form == "parallel":
                try_size(Path(f"{self._slots.path(numbers[0])}.partial"), needed)

        run_on_root(self.comm, begin)
        number = int(self.comm.broadcast(np.array(numbers, np.int64))[0])
        self.first = self.first or number
        return number

    def load(self, blank_state: object, shard: Shard, job: str) -> LoadedCheckpoint | None:
        """Fill the state, in place, from the newest checkpoint all of whose checksums hold; None if there is none.

        Raises
        ------
        ValueError
            If the checkpoint is of another job, of an unknown format, or if there are checkpoints and none is whole.
        """
        there = self._slots.whole() if self.comm.rank == 0 else []
        numbers = [n for n in json.loads(broadcast_text(self.comm, json.dumps(there))) if n >= self.since]
        notes: list[str] = []
        for number in numbers:
            try:
                head = self._load(number, blank_state, shard, job)
            except Damaged as damage:
                self._slots.damaged.add(number)
                notes.append(f"checkpoint {self._slots.path(number)} is damaged: {damage}")
                continue
            for note in notes:
                self._warn(f"{note}; going on from {self._slots.path(number)} of round {head.k}")
            return LoadedCheckpoint(head.k, head.meta, head.size == self.comm.size, tuple(notes))
        if notes:
            raise ValueError(f"{notes[0]}; no other is whole; remove {self.folder} to start anew")
        return None

    def _load(self, number: int, state: object, shard: Shard, job: str) -> Head:
        path = self._slots.path(number)
        head = self._head(path)
        places = [_place(s, state) for s in self.slabs(state, shard)]
        refuse_other_job(head, job, places, shard.total, f"checkpoint {path}")
        self._verify(path, head)
        error: Exception | None = None
        try:
            with open_read(path) as f:
                for place in places:
                    if place.layout is not Layout.PER_RANK or head.size == self.comm.size:
                        place.fill(f[f"state/{place.name}"])
        except (OSError, RuntimeError, ValueError) as failure:
            error = OSError(f"cannot read {path}: {failure}")
        self.comm.agree(error)
        return head

    def _head(self, path: Path) -> Head:
        """Give the head on all ranks, or raise Damaged or ValueError on all."""
        words = ["", ""]

        def read() -> None:
            try:
                words[0] = read_text(path)
                missing = [n for n in parse(words[0]).files if not path.with_name(n).is_file()]
                words[1] = f"{missing[0]} is missing" if missing else ""
            except Damaged as damage:
                words[1] = str(damage)

        run_on_root(self.comm, read)
        text, damage = json.loads(broadcast_text(self.comm, json.dumps(words)))
        if damage:
            raise Damaged(damage)
        return parse(text)

    def _verify(self, path: Path, head: Head) -> None:
        """Check every slab once, dealt over the ranks; raise Damaged on all ranks if a checksum does not hold."""
        found = self.comm.allgather(np.frombuffer(self._damage(path, head).encode(), np.uint8).copy())
        damages = [d.tobytes().decode() for d in found if len(d)]
        if damages:
            raise Damaged(damages[0])

    def _damage(self, path: Path, head: Head) -> str:
        try:
            with open_read(path) as f:
                for name, field in head.fields.items():
                    for r in range(self.comm.rank, head.size, self.comm.size):
                        if checksum(f[f"state/{name}"], field.starts[r], field.stops[r]) != field.checksums[r]:
                            return f"the checksum of {name} from rank {r} does not hold"
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            return f"cannot be read ({' '.join(str(error).split())})"
        return ""


def _place(slab: Slab, state: object) -> Slab:
    # Saving, rank 0 alone has the rows of a replicated field; loading, every rank fills its own.
    if slab.layout is not Layout.REPLICATED:
        return slab
    array = getattr(state, slab.name)
    return Slab(slab.name, slab.layout, array.reshape(slab.shape), slab.shape, 0)


def first_since(folder: Path, seconds: float, comm: Comm) -> int:
    """Give the number of the oldest checkpoint that was put in place after this time (since 1970), 0 for none."""
    slots = Slots(folder)
    numbers = slots.whole() if comm.rank == 0 else []
    fresh = [n for n in numbers if slots.path(n).stat().st_mtime >= seconds]
    return int(comm.broadcast(np.array([min(fresh, default=0)], np.int64))[0])
