"""The small commands: from words to the functions that do the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpiopt.comm import Comm
from mpiopt.datasets import together
from mpiopt.flags import parse
from mpiopt.signals import Stop


def inspect(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Print what is in a file."""
    from mpiopt import show

    paths, _ = parse(words, {})
    if not paths:
        raise ValueError("inspect needs a file: mpiopt inspect FILE.h5 …")
    text = together(comm, lambda: "\n\n".join(show.inspect(path) for path in paths) if comm.rank == 0 else "")
    if comm.rank == 0:
        print(text)
    return 0


def plot(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Draw the convergence of results into one picture."""
    from mpiopt import plot as drawing

    paths, settings = parse(words, {"out": True})
    if not paths:
        raise ValueError("plot needs results: mpiopt plot RUN.h5 … [--out FILE.png]")
    out = dict(settings).get("out", str(Path(paths[0]).with_suffix(".png")))
    together(comm, lambda: drawing.plot(paths, out) if comm.rank == 0 else None)
    if comm.rank == 0:
        print(f"drawn: {out}")
    return 0
