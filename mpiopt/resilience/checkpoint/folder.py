"""The folder of a run's checkpoints: numbered files, of which the newest two are kept."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path

from mpiopt.core.files import cause, sync
from mpiopt.resilience.lease import FolderLease

KEPT = 2  # checkpoints: one may turn out to be damaged when it is loaded
_NAME = re.compile(r"(\d{6,})\.(h5|h5\.partial|shard-\d+-of-\d+\.(?:h5|told|told\.partial))")


class CheckpointFolder:
    """Files NUMBER.h5 of one folder, as rank 0 sees them. Numbers grow, so no file is ever overwritten."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: set[int] = set()  # numbers that a load found damaged: they do not count as kept
        self.lease = FolderLease(folder)
        self._removing: threading.Thread | None = None

    def committed(self) -> list[int]:
        """Return the numbers of the committed checkpoints, the newest first."""
        return sorted((n for n, suffix in self._files() if suffix == "h5"), reverse=True)

    def path(self, number: int) -> Path:
        """Return the path of the checkpoint of this number."""
        return self.folder / f"{number:06d}.h5"

    def next_number(self) -> int:
        """Claim the folder, and return the number of the checkpoint to write next."""
        self.claim()
        return max((n for n, _ in self._files()), default=0) + 1

    def claim(self) -> None:
        """Make the folder and take its lease; OSError, one line, if that fails."""
        try:
            self.lease.claim()
        except OSError as error:
            raise OSError(f"cannot write in {self.folder}: {cause(error)}") from None

    def commit(self, number: int) -> None:
        """Rename the written checkpoint into place; only then remove those before the last two.

        To remove a file of GBs takes a good part of the time of writing it, so a thread does it. A file that cannot
        be removed is tried again at the next commit.
        """
        self.lease.check()
        os.rename(f"{self.path(number)}.partial", self.path(number))
        try:
            self.lease.check()
        except OSError:  # a later start of the job has claimed the folder between check and rename: undo the rename
            self.path(number).unlink(missing_ok=True)
            raise
        sync(self.folder)
        kept = [n for n in self.committed() if n not in self.damaged][:KEPT]
        self.remove_all_but(set(kept))

    def remove_all_but(self, kept: set[int]) -> None:
        """Remove, in a thread, the files of all other numbers; a manifest goes before its shard files."""
        doomed = [(suffix != "h5", n, suffix) for n, suffix in self._files() if n not in kept]
        paths = [self.folder / f"{n:06d}.{suffix}" for _, n, suffix in sorted(doomed)]
        self._removing = threading.Thread(target=_remove, args=[paths], name="old checkpoints")
        self._removing.start()

    def finish(self) -> None:
        """Wait until the thread has removed its files."""
        if self._removing is not None:
            self._removing.join()

    def abandon(self, number: int) -> None:
        """Remove the files of a save that failed."""
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
