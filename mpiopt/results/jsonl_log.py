"""`train --log FILE.jsonl`: each row of the history as a line of JSON, as it happens, for whatever watches a run."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from mpiopt.core.history import HistoryRow

logger = logging.getLogger(__name__)


class Journal:
    """Appends rows to a file; one that cannot be written ends the log, never the run."""

    def __init__(self, path: str = "") -> None:
        self._path = path

    def add(self, row: HistoryRow) -> None:
        """Write one line; what is no finite number becomes null, which JSON knows."""
        if not self._path:
            return
        values = {name: value if math.isfinite(value) else None for name, value in row._asdict().items()}
        try:
            with open(self._path, "a", encoding="utf-8") as out:
                out.write(json.dumps(values) + "\n")
        except OSError as error:
            logger.error("%s: %s; the log ends here", self._path, error.strerror)
            self._path = ""


def journal(path: str, rank: int, resumed: bool) -> Journal:
    """Give the log of rank 0, where one was asked for; a resumed run appends to what is there.

    Rounds after the checkpoint that it goes on from are then in the file twice.
    """
    if rank != 0 or not path:
        return Journal()
    if not resumed:
        Path(path).write_text("")
    return Journal(path)
