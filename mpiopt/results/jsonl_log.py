"""`train --log FILE.jsonl`: each row of the history as a line of JSON, while the run goes on."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from mpiopt.core.files import special_kind
from mpiopt.core.history import HistoryRow

logger = logging.getLogger(__name__)


class JsonlLog:
    """Appends rows to a file. An error of writing ends the log, but not the run."""

    def __init__(self, path: str = "") -> None:
        self._path = path

    def add(self, row: HistoryRow) -> None:
        """Write one line; a number that is not finite becomes null, since JSON has no NaN."""
        if not self._path:
            return
        values = {name: value if math.isfinite(value) else None for name, value in row._asdict().items()}
        try:
            with open(self._path, "a", encoding="utf-8") as out:
                out.write(json.dumps(values) + "\n")
        except OSError as error:
            logger.error("%s: %s; the log ends here", self._path, error.strerror)
            self._path = ""


def open_log(path: str, rank: int, resumed: bool) -> JsonlLog:
    """Return the log of rank 0, and a log that writes nothing on other ranks or without a path.

    A resumed run appends to the file. Rounds after the checkpoint from which it resumes are then in the file twice.
    """
    if rank != 0 or not path:
        return JsonlLog()
    if not resumed and not special_kind(path):
        Path(path).write_text("")
    return JsonlLog(path)
