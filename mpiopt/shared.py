"""Text that one rank makes and all have."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from mpiopt.comm import Comm


def shared_text(comm: Comm, work: Callable[[], str]) -> str:
    """Give what `work` gives on rank 0, on all ranks; collective.

    Raises
    ------
    ValueError
        On all ranks, with the words of the ValueError or OSError that `work` raised.
    """
    told = {"text": "", "error": ""}
    if comm.rank == 0:
        try:
            told["text"] = work()
        except (ValueError, OSError) as failure:
            told["error"] = str(failure)
    shared = json.loads(comm.broadcast(np.frombuffer(json.dumps(told).encode(), np.uint8)).tobytes())
    if shared["error"]:
        raise ValueError(shared["error"])
    return str(shared["text"])
