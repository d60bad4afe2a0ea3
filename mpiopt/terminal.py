"""Printing on rank 0."""

from __future__ import annotations

import os
import sys

from mpiopt.comm import Comm


def print_here(comm: Comm, text: str) -> None:
    """Print on rank 0; what the output's encoding does not know becomes a question mark.

    A reader who has seen enough, as `head` has, is no error.
    """
    if comm.rank == 0:
        encoding = sys.stdout.encoding or "ascii"
        try:
            print(text.encode(encoding, "replace").decode(encoding), flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again at its end
