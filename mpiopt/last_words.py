"""What a program said last on its standard error, which is passed on as it comes."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from typing import IO

KEPT = 20000  # bytes
PATIENCE = 2.0  # seconds for what is under way when the program has ended: who else has the pipe may live on


class LastWords:
    """Reads a program's standard error in a thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._read, name="last words", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while part := self._stream.read1(65536):  # type: ignore[attr-defined]
            self._kept = (self._kept + part)[-KEPT:]
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                sys.stderr.buffer.write(part)
                sys.stderr.flush()

    def reason(self) -> str:
        """Give, in one line, what was said last, once the program has ended; "" where it was nothing."""
        self._thread.join(PATIENCE)
        return reason_in(self._kept.decode(errors="replace"))


def reason_in(text: str) -> str:
    """Give the first paragraph of the last block between lines of dashes, Open MPI's way; else the last line."""
    text = text.replace("\0", "")  # which PRRTE writes after a block
    blocks = [block.strip() for block in re.split(r"(?m)^-{20,}\s*$", text) if block.strip()]
    if not blocks:
        return ""
    framed = len(blocks) > 1 or blocks[0] != text.strip()
    told = re.split(r"\n\s*\n", blocks[-1])[0] if framed else blocks[0].splitlines()[-1]
    return " ".join(told.split()).rstrip(":")
