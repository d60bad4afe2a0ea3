"""The folder of a run's checkpoints: numbered files, of which the newest two are kept."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path

from mpiopt.core.files import cause, rename_into_place, sync
from mpiopt.resilience.lease import FolderLease

KEPT = 2  # checkpoints: one may turn out to be damaged when it is loaded
_NAME = re.compile(r"(\d{6,})\.(h5|h5\.partial|shard-\d+-of-\d+\.(?:h5|told|told\.partial))")


class CheckpointFolder:
    """Files NUMBER.h5 of one folder, as rank 0 sees them.

    Two lives of a job may write here at once, if Slurm has started the job again while ranks of its earlier life
    still run. They never touch each other's files: a number belongs to the life that has made NUMBER.h5.partial,
    which only one can make; and a life removes only its own files, and those of smaller numbers than one that it has
    committed under its lease.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: set[int] = set()  # numbers that a load found damaged: they do not count as kept
        self.lease = FolderLease(folder)
        self._reserved = 0  # the last number that this life has reserved
        self._removing: threading.Thread | None = None

    def committed(self) -> list[int]:
        """Return the numbers of the committed checkpoints, the newest first."""
        return sorted((n for n, suffix in self._files() if suffix == "h5"), reverse=True)

    def path(self, number: int) -> Path:
        """Return the path of the checkpoint of this number."""
        return self.folder / f"{number:06d}.h5"

    def partial(self, number: int) -> Path:
        """Return the path of the checkpoint of this number until it is committed."""
        return self.folder / f"{number:06d}.h5.partial"

    def reserve(self) -> int:
        """Claim the folder, and return the number of the checkpoint to write next; its partial file is made."""
        self.claim()
        try:
            self.lease.check()
            number = max(self._reserved, *(n for n, _ in self._files()), 0) + 1
            while not self._make(number):
                number += 1
        except OSError as error:
            raise OSError(f"cannot write in {self.folder}: {cause(error)}") from None
        self._reserved = number
        return number

    def _make(self, number: int) -> bool:
        """Make the partial file of a number; return False if another life has or had the number."""
        try:
            os.close(os.open(self.partial(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return False
        if [suffix for n, suffix in self._files() if n == number] == ["h5.partial"]:
            return True
        self.partial(number).unlink(missing_ok=True)  # the other life has committed it in the meantime
        return False

    def claim(self) -> None:
        """Make the folder and take its lease; OSError, one line, if that fails."""
        try:
            self.lease.claim()
        except OSError as error:
            raise OSError(f"cannot write in {self.folder}: {cause(error)}") from None

    def commit(self, number: int) -> None:
        """Rename the checkpoint, which is on the disk, into place; only then remove those before the last two.

        To remove a file of GBs takes a good part of the time of writing it, so a thread does it. A file that cannot
        be removed is tried again at the next commit.
        """
        self.lease.check()
        path = self.path(number)
        try:
            sync(self.folder)  # the names of the ranks' files, before there is a manifest that needs them
            rename_into_place(self.partial(number), path)
            self.lease.check()  # a later start of the job may have claimed the folder between check and rename
        except OSError as error:
            _remove([path])  # of this life alone, by its number
            raise error if error.errno is None else OSError(f"cannot write {path}: {cause(error)}") from None
        kept = [n for n in self.committed() if n <= number and n not in self.damaged][:KEPT]
        self.remove_below(number, set(kept))

    def remove_below(self, number: int, kept: set[int]) -> None:
        """Remove, in a thread, the files of smaller numbers but `kept`; a manifest goes before its shard files."""
        doomed = [(suffix != "h5", n, suffix) for n, suffix in self._files() if n < number and n not in kept]
        paths = [self.folder / f"{n:06d}.{suffix}" for _, n, suffix in sorted(doomed)]
        self._removing = threading.Thread(target=_remove, args=[paths], name="old checkpoints")
        self._removing.start()

    def finish(self) -> None:
        """Wait until the thread has removed its files."""
        if self._removing is not None:
            self._removing.join()

    def abandon(self, number: int) -> None:
        """Remove the files of a save that failed; its number is this life's own, and it was not committed."""
        _remove([self.folder / f"{n:06d}.{suffix}" for n, suffix in self._files() if n == number and suffix != "h5"])

    def _files(self) -> list[tuple[int, str]]:
        self.finish()
        if not self.folder.is_dir():
            return []
        matches = (_NAME.fullmatch(name) for name in os.listdir(self.folder))
        return [(int(m.group(1)), m.group(2)) for m in matches if m]


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
