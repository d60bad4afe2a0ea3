"""Checkpoints: all ranks save a state together, and load it again on any number of ranks.

On the same number of ranks the state comes back bit by bit. On another number, sharded fields are cut anew,
replicated fields come back, and per-rank fields do not. Whenever a run is killed, its last two committed checkpoints
stay whole.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json, broadcast_text, run_on_root
from mpiopt.core.files import sync
from mpiopt.core.hdf5 import open_read
from mpiopt.core.state import Layout
from mpiopt.data.shard import Shard
from mpiopt.resilience.checkpoint.base import FIELDS, BlankState, LoadedState, Meta
from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.resilience.checkpoint.header import Damaged, Head, parse, read_text, refuse_other_job
from mpiopt.resilience.checkpoint.slabs import Slab, checksum, inverted, slabs
from mpiopt.resilience.checkpoint.writers import SavePoint, write_sharded, write_shared

FORMS = ("auto", "parallel", "sharded")


@dataclass(frozen=True)
class LoadedCheckpoint(LoadedState):
    """What `Checkpoints.load` returns."""

    same_ranks: bool  # whether per-rank fields were filled, too
    notes: tuple[str, ...] = ()  # one line for each newer checkpoint that was damaged and skipped


class Checkpoints:
    """The checkpoints of one run; every method is collective.

    Parameters
    ----------
    folder : str or Path
        Where they lie. The folder is made at the first save.
    comm : Comm
        The ranks of the run.
    form : str
        "parallel": one file that all ranks share. "sharded": one file for each rank, and a manifest. "auto":
        parallel if the ranks are those of MPI and the run does not survive lost ranks; else sharded. Every form loads
        both.
    warn : callable
        Called on every rank with one line for each damaged checkpoint that a load skips.
    hints : mapping of str to str, optional
        MPI-IO hints for the shared file (striping, collective buffering).

    Attributes
    ----------
    first : int
        Number of the first checkpoint that this object has saved; 0 before.
    since : int
        A load ignores checkpoints of smaller numbers: they are of another run.

    Raises
    ------
    ValueError
        If the form is unknown.

    Examples
    --------
    >>> import tempfile
    >>> from dataclasses import make_dataclass
    >>> import numpy as np
    >>> from mpiopt.comm.threads import single
    >>> from mpiopt.core.state import Replicated
    >>> from mpiopt.data.shard import DenseRows, Shard
    >>> from mpiopt.resilience.checkpoint.store import Checkpoints
    >>> Model = make_dataclass("Model", [("w", Replicated)])
    >>> shard = Shard(DenseRows(np.zeros((2, 8))), np.ones(2), np.ones(2), np.arange(2), 0, 2, 8, False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Checkpoints(folder, single())
    ...     store.save(7, Model(np.array([1.0, 2.0])), shard, {"job": ""})
    ...     loaded = store.load(lambda meta: Model(np.zeros(2)), shard, "")
    ...     loaded.k, loaded.state.w.tolist()
    (7, [1.0, 2.0])
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
        several = comm.raw is not None and not comm.tolerant
        self.form = form if form != "auto" else "parallel" if several else "sharded"
        self.folder = Path(folder)
        self.comm = comm
        self.first = self.since = 0
        self._warn = warn
        self._hints = hints or {}
        self._files = CheckpointFolder(self.folder)
        self._order: NDArray[np.int64] | None = None  # of the rows saved last
        self._inverse: NDArray[np.integer] | None = None  # its inverse

    def claim(self) -> None:
        """Claim the folder for this run before anything is read: an earlier start of it writes nothing from now on.

        Raises
        ------
        OSError
            On all ranks, one line: another run, or a later start of this run, writes in the folder.
        """
        run_on_root(self.comm, self._files.claim)

    def check(self) -> None:
        """Finish what is pending; raise OSError on all ranks if another run has taken over the folder."""
        self.finish()
        run_on_root(self.comm, self._files.lease.check)

    def release(self, ending: str, code: int = 0) -> None:
        """Note in the folder how the run has ended; a folder without checkpoints is removed.

        Parameters
        ----------
        ending : str
            The ending in words.
        code : int
            The exit code of the run.

        Raises
        ------
        OSError
            On all ranks, one line: another run has taken over the folder.
        """
        self.finish()

        def release() -> None:
            self._files.finish()
            self._files.lease.release(ending, code)

        run_on_root(self.comm, release)

    def abandon(self, why: str) -> None:
        """Release the folder after an error that ends the run; local, since not all ranks may have failed alike."""
        if self.comm.rank == 0:
            with contextlib.suppress(OSError):  # taken over by another run, or on a full disk
                self._files.lease.release(f"failed: {why}")

    def settle(self) -> None:
        """Finish what is pending; a failure is told only, for a run that ends with a result."""
        try:
            self.finish()
        except OSError as fault:
            self._warn(f"the last checkpoint is missing: {fault}")

    def finish(self) -> None:
        """Wait until the pending save, if any, is committed; OSError on all ranks if it failed."""

    def give_up(self) -> None:
        """Stop the pending save, if any: one of its ranks is lost."""

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Save the state before round k.

        Parameters
        ----------
        k : int
            The next round.
        state : object
            A state whose fields declare their layouts (`mpiopt.core.state`).
        shard : Shard
            This rank's rows.
        meta : dict
            `meta["job"]` is the job as TOML, with the checksum of the data as one of its keys. `load` compares its
            keys, but for those that a resumed run may change. The other items are returned as they are.

        Raises
        ------
        OSError
            On all ranks, one line, if the checkpoint cannot be written. Earlier checkpoints are untouched.
        """
        mine = self.slabs(state, shard)
        number = self.begin(mine)
        path, point = self._files.path(number), SavePoint(k, shard.total, meta)
        try:
            if self.form == "parallel":
                write_shared(path, point, mine, self.comm, self._hints)
            else:
                write_sharded(path, point, mine, self.comm)
            run_on_root(self.comm, lambda: self._files.commit(number))
        except OSError:
            if self.comm.rank == 0:
                self._files.abandon(number)
            raise

    def slabs(self, state: object, shard: Shard) -> list[Slab]:
        """Return this rank's slabs; the inverse of the rows' order is computed once."""
        if self._order is not shard.order:
            self._order, self._inverse = shard.order, inverted(shard.order)
        return slabs(state, shard, self.comm, self._inverse)

    def begin(self, mine: list[Slab]) -> int:
        """Check that there is space for a new checkpoint, and return its number."""
        needed = int(self.comm.sum(np.array([sum(s.rows.nbytes for s in mine)], np.int64))[0])
        numbers = [0]

        def begin() -> None:
            self._files.claim()
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise OSError(f"cannot write in {self.folder}: needs {needed:,} bytes, {free:,} are free")
            numbers[0] = self._files.reserve()
            sync(self.folder.parent)

        run_on_root(self.comm, begin)
        number = int(self.comm.broadcast(np.array(numbers, np.int64))[0])
        self.first = self.first or number
        return number

    def load(self, blank: BlankState, shard: Shard, job: str) -> LoadedCheckpoint | None:
        """Load the newest checkpoint whose checksums are all right.

        Parameters
        ----------
        blank : callable
            Returns a state of the right shapes and types, as `Algorithm.blank` makes it, for what was saved beside
            the state; it tells which algorithm ran.
        shard : Shard
            This rank's rows.
        job : str
            The job as TOML.

        Returns
        -------
        LoadedCheckpoint or None
            Round, meta and state; None if there is no checkpoint.

        Raises
        ------
        ValueError
            On all ranks, one line: the checkpoint is of another job or of an unknown format, or all checkpoints are
            damaged.
        """
        self.finish()
        there = self._files.committed() if self.comm.rank == 0 else []
        numbers = [n for n in json.loads(broadcast_text(self.comm, json.dumps(there))) if n >= self.since]
        notes: list[str] = []
        for number in numbers:
            try:
                head, state = self._load(number, blank, shard, job)
            except Damaged as damage:
                self._files.damaged.add(number)
                notes.append(f"checkpoint {self._files.path(number)} is damaged: {damage}")
                continue
            for note in notes:
                self._warn(f"{note}; going on from {self._files.path(number)} of round {head.k}")
            return LoadedCheckpoint(head.k, head.meta, state, head.size == self.comm.size, tuple(notes))
        if notes:
            raise ValueError(f"{notes[0]}; no other checkpoint is whole; remove {self.folder} to start anew")
        return None

    def newest_round(self) -> int:
        """Return the round before which the newest checkpoint was made, without its rows; -1 without one; collective.

        A damaged header counts as no checkpoint, and the one before is looked at.
        """
        found = [-1]

        def look() -> None:
            for number in self._files.committed():
                if number < self.since:
                    return
                with contextlib.suppress(Damaged, ValueError, OSError):
                    found[0] = parse(read_text(self._files.path(number))).k
                    return

        run_on_root(self.comm, look)
        return int(self.comm.broadcast(np.array(found, np.int64))[0])

    def _load(self, number: int, blank: BlankState, shard: Shard, job: str) -> tuple[Head, object]:
        path = self._files.path(number)
        head = self._head(path)
        state = blank(head.meta | {FIELDS: " ".join(head.fields)})
        targets = [_target(s, state) for s in self.slabs(state, shard)]
        refuse_other_job(head, job, targets, shard.total, f"checkpoint {path}")
        self._verify(path, head)
        error: Exception | None = None
        try:
            with open_read(path) as f:
                for target in targets:
                    if target.layout is not Layout.PER_RANK or head.size == self.comm.size:
                        target.fill(f[f"state/{target.name}"])
        except (OSError, RuntimeError, ValueError) as failure:
            error = OSError(f"cannot read {path}: {failure}")
        self.comm.agree(error)
        return head, state

    def _head(self, path: Path) -> Head:
        """Return the header on all ranks, or raise Damaged or ValueError on all of them."""
        told = {"text": "", "damage": ""}

        def read() -> None:
            try:
                told["text"] = read_text(path)
                missing = [n for n in parse(told["text"]).files if not path.with_name(n).is_file()]
                told["damage"] = f"{missing[0]} is missing" if missing else ""
            except Damaged as damage:
                told["damage"] = str(damage)

        run_on_root(self.comm, read)
        text, damage = json.loads(broadcast_text(self.comm, json.dumps(list(told.values()))))
        if damage:
            raise Damaged(damage)
        return parse(text)

    def _verify(self, path: Path, head: Head) -> None:
        """Check every file and every slab once, each on one of the ranks; raise Damaged on all ranks if one is wrong.

        The ranks' files are checked by their seals before HDF5 opens any of them.
        """
        for damage in (self._damaged_file, self._damaged_slab):
            damages = allgather_json(self.comm, damage(path, head))
            if any(damages):
                raise Damaged(next(filter(None, damages)))

    def _damaged_file(self, path: Path, head: Head) -> str:
        try:
            for name in head.files[self.comm.rank :: self.comm.size]:
                open_read(path.with_name(name)).close()
        except ValueError as error:
            return str(error)
        return ""

    def _damaged_slab(self, path: Path, head: Head) -> str:
        try:
            with open_read(path) as f:
                for name, field in head.fields.items():
                    for r in range(self.comm.rank, head.size, self.comm.size):
                        if checksum(f[f"state/{name}"], field.starts[r], field.stops[r]) != field.checksums[r]:
                            return f"the checksum of {name} from rank {r} is wrong"
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            return f"cannot be read ({' '.join(str(error).split())})"
        return ""


def _target(slab: Slab, state: object) -> Slab:
    # A save takes the rows of a replicated field from rank 0 alone; a load fills them on every rank.
    if slab.layout is not Layout.REPLICATED:
        return slab
    array = getattr(state, slab.name)
    return Slab(slab.name, slab.layout, array.reshape(slab.shape), slab.shape, 0)


def first_since(folder: Path, seconds: float, comm: Comm) -> int:
    """Return the number of the oldest checkpoint that was committed after `seconds` since 1970; 0 for none."""
    files = CheckpointFolder(folder)
    numbers = files.committed() if comm.rank == 0 else []
    fresh = [n for n in numbers if files.path(n).stat().st_mtime >= seconds]
    return int(comm.broadcast(np.array([min(fresh, default=0)], np.int64))[0])
