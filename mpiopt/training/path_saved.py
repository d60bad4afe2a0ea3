"""The points that a path has found so far, in a file beside its output, so that a path that was cut goes on."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root
from mpiopt.core.files import write_whole
from mpiopt.training.path_follow import Follower, Found

logger = logging.getLogger(__name__)

SUFFIX = ".points"  # of the file beside the output
EVERY = 5  # points found between two savings: a group has more
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
        if known != self.identity:
            raise ValueError(f"{self.place}: is of another job or of other data; remove it, or omit --resume")
        self.arrays = found

    @property
    def strengths(self) -> NDArray[np.float64] | None:
        """The strengths of the path; None if nothing was saved."""
        return self.arrays.get("strengths")

    def known(self, fold: int, follower: Follower) -> list[Found]:
        """Return the first points of a fold's path, or of that over all rows (-1); local."""
        if f"{fold}/figures" not in self.arrays or self.strengths is None:
            return []
        figures, columns, weights = (self.arrays[f"{fold}/{name}"] for name in ("figures", "columns", "weights"))
        found = []
        for k, (value, certificate, certified, epochs) in enumerate(figures.tolist()):
            w = follower.start.objective.zeros()
            w[:, columns] = weights[k]
            strength = float(self.strengths[k])
            found.append(follower.restored(strength, value, certificate, certified > 0.0, epochs, w))
        return found

    def note(self, fold: int, found: Sequence[Found], strengths: NDArray[np.float64]) -> None:
        """Save the points of a path every few points, and at its end; collective.

        A file that cannot be written is told once, and the path goes on.
        """
        if not self.writable or (len(found) % EVERY and len(found) < len(strengths)):
            return
        used = np.flatnonzero(np.any([(one.w != 0.0).any(axis=0) for one in found], axis=0))
        points = [one.point for one in found]
        self.arrays |= {
            "strengths": strengths,
            f"{fold}/columns": used,
            f"{fold}/weights": np.array([one.w[:, used] for one in found]),
            f"{fold}/figures": np.array([[p.objective, p.certificate, float(p.certified), p.epochs] for p in points]),
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
        np.savez(image, identity=identity, **self.arrays)  # type: ignore[arg-type]
        write_whole(self.place, image.getvalue())
