"""The points that a path has found so far, in a file beside its output, so that a path that was cut goes on."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root
from mpiopt.core.files import write_whole
from mpiopt.training.path_follow import Follower, Progress

logger = logging.getLogger(__name__)

SUFFIX = ".points"  # of the file beside the output
EVERY = 5  # points fitted one by one between two savings
FORMAT = 2  # of the file: 1 had no state of the groups
STATE = "state/"  # before the names of the state of the groups
ALL_ROWS = -1  # number of the path that no fold has


class SavedPoints:
    """The points of a path and of its folds, by the number of the fold.

    Parameters
    ----------
    out : str
        The output of the path.
    identity : str
        Text of all that a path must share with the one that it goes on from.
    comm : Comm
        The ranks.
    """

    def __init__(self, out: str, identity: str, comm: Comm) -> None:
        self.place, self.identity, self.comm = Path(out + SUFFIX), identity, comm
        self.arrays: dict[str, NDArray[Any]] = {}
        self.writable = True

    def load(self, asked: bool) -> None:
        """Read what was saved; collective.

        Parameters
        ----------
        asked : bool
            Whether there must be something.

        Raises
        ------
        ValueError
            On all ranks: the file is damaged, or of another job.
        """
        image = b""

        def read() -> None:
            nonlocal image
            if self.place.exists():
                image = self.place.read_bytes()
            elif asked:
                raise ValueError(f"{self.place}: no such file; without --resume the path begins anew")

        run_on_root(self.comm, read)
        payload = np.frombuffer(image, np.uint8).copy() if self.comm.rank == 0 else None
        image = self.comm.broadcast(payload).tobytes()
        if not image:
            return
        try:
            with np.load(io.BytesIO(image), allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            known = json.loads(found.pop("identity").tobytes())
        except Exception as error:  # whatever a cut file may hold
            raise ValueError(f"{self.place}: damaged ({error}); remove it to begin anew") from None
        if int(found.pop("format", 1)) != FORMAT:
            raise ValueError(f"{self.place}: was saved by another version of mpiopt; remove it, or omit --resume")
        if known != self.identity:
            raise ValueError(f"{self.place}: is of another job or of other data; remove it, or omit --resume")
        self.arrays = found

    @property
    def strengths(self) -> NDArray[np.float64] | None:
        """The strengths of the path; None if nothing was saved."""
        return self.arrays.get("strengths")

    def known(self, fold: int, follower: Follower) -> Progress:
        """Return how far a fold's path has come, or that over all rows (-1); local."""
        progress = Progress()
        if f"{fold}/figures" not in self.arrays or self.strengths is None:
            return progress
        own = {name.split("/", 1)[1]: array for name, array in self.arrays.items() if name.startswith(f"{fold}/")}
        count, progress.alone = int(own["count"]), bool(own["alone"])
        progress.groups = {name[len(STATE) :]: array for name, array in own.items() if name.startswith(STATE)}
        for k, (number, value, certificate, certified, epochs) in enumerate(own["figures"].tolist()):
            w = follower.start.objective.zeros()
            w[:, own["columns"]] = own["weights"][k]
            strength = float(self.strengths[int(number)])
            one = follower.restored(strength, value, certificate, certified > 0.0, epochs, w)
            if k < count:
                progress.found.append(one)
            else:
                progress.ready[int(number)] = one
        return progress

    def save(self, fold: int, progress: Progress, strengths: NDArray[np.float64], last: bool = False) -> None:
        """Save how far a path has come: after each group, else every few points, and at its end; collective.

        A file that cannot be written is told once, and the path goes on. `last`: nothing will be saved after this.
        """
        count, ended = len(progress.found), len(progress.found) == len(strengths)
        if not self.writable or (progress.alone and count % EVERY and not (ended or last)):
            return
        numbers, every = [*range(count), *progress.ready], [*progress.found, *progress.ready.values()]
        inside = [(one.w != 0.0).any(axis=0) for one in every]
        used = np.flatnonzero(np.any(inside, axis=0)) if inside else np.empty(0, np.int64)
        figures = [
            [k, p.objective, p.certificate, float(p.certified), p.epochs]
            for k, (p, _) in zip(numbers, every, strict=True)
        ]
        kept = {name: array for name, array in self.arrays.items() if not name.startswith(f"{fold}/")}
        states = {} if ended or progress.alone else progress.groups
        self.arrays = kept | {
            "strengths": strengths,
            f"{fold}/count": np.array(count),
            f"{fold}/alone": np.array(progress.alone),
            f"{fold}/columns": used,
            f"{fold}/weights": np.array([one.w[:, used] for one in every]),
            f"{fold}/figures": np.array(figures),
            **{f"{fold}/{STATE}{name}": array for name, array in states.items()},
        }
        try:
            run_on_root(self.comm, self._write)
        except OSError as fault:  # on all ranks
            self.writable = False
            if self.comm.rank == 0:
                logger.warning("the points are not saved: %s; the path goes on", fault)

    def remove(self) -> None:
        """Remove the file once the output is written; collective."""

        def unlink() -> None:
            with contextlib.suppress(OSError):  # the output is there: a file too many does no harm
                self.place.unlink(missing_ok=True)

        run_on_root(self.comm, unlink)

    def _write(self) -> None:
        image = io.BytesIO()
        identity = np.frombuffer(json.dumps(self.identity).encode(), np.uint8)
        np.savez(image, identity=identity, format=np.array(FORMAT), **self.arrays)  # type: ignore[arg-type]
        write_whole(self.place, image.getvalue())
