"""What every study does with what it found: gather it from the ranks, write OUT.json and OUT.png, align tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.comm.base import Comm


def gathered(comm: Comm, mine: list[Any]) -> list[Any]:
    """Give the plain values of all ranks, in rank order; collective."""
    parts = comm.allgather(np.frombuffer(json.dumps(mine).encode(), np.uint8))
    return [value for part in parts for value in json.loads(part.tobytes())]


def write(out: str, tree: dict[str, Any], draw: Callable[[str], None]) -> list[str]:
    """Write OUT.json and, where matplotlib is there, OUT.png; give their names.

    Raises
    ------
    OSError
        Where a file can not be written.
    """
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    name = f"{out}.json"
    Path(f"{name}.partial").write_text(json.dumps(tree))
    os.replace(f"{name}.partial", name)
    try:
        draw(f"{out}.png")
    except ImportError:
        return [name, "no picture without matplotlib"]
    return [name, f"{out}.png"]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Give rows of words as columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() for line in lines)
