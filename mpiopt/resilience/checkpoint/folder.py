"""The folder of a run's checkpoints: numbered files of which the newest two are kept, and who may write there."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path

from mpiopt.core.files import cause, sync
from mpiopt.resilience.lease import Owner

KEPT = 2
_NAME = re.compile(r"(\d{6,})\.(h5|h5\.partial|shard-\d+-of-\d+\.(?:h5|told|told\.partial))")


class Slots:
    """Files NUMBER.h5 of one folder, as rank 0 sees them. A number is never used again, so nothing is overwritten."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: set[int] = set()  # found bad by a load: they count as no copy
        self.owner = Owner(folder)
        self._removing: threading.Thread | None = None

    def whole(self) -> list[int]:
        """Numbers of the committed checkpoints, the newest first."""
        return sorted((n for n, suffix in self._files() if suffix == "h5"), reverse=True)

    def path(self, number: int) -> Path:
        """Give the file of this number."""
        return self.folder / f"{number:06d}.h5"

    def next(self) -> int:
        """Give the number of the checkpoint to write next, making the folder and claiming it at the first time."""
        self.claim()
        return max((n for n, _ in self._files()), default=0) + 1

    def claim(self) -> None:
        """Make the folder this run's; OSError, one line, where it cannot be."""
        try:
            self.owner.claim()
        except OSError as error:
            raise OSError(f"cannot write in {self.folder}: {cause(error)}") from None

    def commit(self, number: int) -> None:
        """Put the written checkpoint in place; then, and only then, drop what is older than the last two.

        To remove a file of GBs takes a part of the time of writing it, so a thread does that; one that cannot be
        removed is tried again the next time.
        """
        self.owner.check()
        os.rename(f"{self.path(number)}.partial", self.path(number))
        try:
            self.owner.check()
        except OSError:  # a newer life has claimed the folder between the two; its own numbers are others
            self.path(number).unlink(missing_ok=True)
            raise
        sync(self.folder)
        kept = [n for n in self.whole() if n not in self.damaged][:KEPT]
        self.drop(keep={*kept})

    def drop(self, keep: set[int]) -> None:
        """Remove, in a thread, the files of all other numbers, a manifest or shared file before its shards."""
        doomed = [(suffix != "h5", n, suffix) for n, suffix in self._files() if n not in keep]
        paths = [self.folder / f"{n:06d}.{suffix}" for _, n, suffix in sorted(doomed)]
        self._removing = threading.Thread(target=_remove, args=[paths], name="old checkpoints")
        self._removing.start()

    def finish(self) -> None:
        """Return when what was to be dropped is gone."""
        if self._removing is not None:
            self._removing.join()

    def abandon(self, number: int) -> None:
        """Remove what a failed save has left."""
        for n, suffix in self._files():
            if n == number:
                (self.folder / f"{n:06d}.{suffix}").unlink(missing_ok=True)

    def _files(self) -> list[tuple[int, str]]:
        self.finish()
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(name) for name in os.listdir(self.folder))
        return [(int(m.group(1)), m.group(2)) for m in found if m]


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
