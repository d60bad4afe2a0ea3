"""The end of a program's standard error, kept while everything is passed on: it says why mpirun failed."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from typing import IO

KEPT_NBYTES = 20_000  # bytes; longer than any message of an mpirun
# Seconds to wait for the rest after the program has ended. Another process may hold the pipe open for ever.
JOIN_SECONDS = 2.0


class StderrTail:
    """Copies a program's standard error to ours in a thread, and keeps its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._copy, name="stderr tail", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        while part := self._stream.read1(65536):  # type: ignore[attr-defined]
            self._kept = (self._kept + part)[-KEPT_NBYTES:]
            with contextlib.suppress(OSError, ValueError):  # our own standard error is closed
                sys.stderr.buffer.write(part)
                sys.stderr.flush()

    def reason(self) -> str:
        """Return the last message in one line, after the program has ended; "" if there was none."""
        self._thread.join(JOIN_SECONDS)
        return last_message(self._kept.decode(errors="replace"))


def last_message(text: str) -> str:
    """Return the first paragraph of Open MPI's last framed block; without a frame, the last line.

    Open MPI frames its messages with lines of dashes.
    """
    text = text.replace("\0", "")  # PRRTE writes one after a block
    blocks = [block.strip() for block in re.split(r"(?m)^-{20,}\s*$", text) if block.strip()]
    if not blocks:
        return ""
    framed = len(blocks) > 1 or blocks[0] != text.strip()
    message = re.split(r"\n\s*\n", blocks[-1])[0] if framed else blocks[0].splitlines()[-1]
    return " ".join(message.split()).rstrip(":")
