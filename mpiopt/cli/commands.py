"""The small commands: from words to the functions that do the work."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.flags import parse, typed
from mpiopt.data.formats.base import together
from mpiopt.resilience.signals import StopSignal

if TYPE_CHECKING:
    from mpiopt.data.convert import Converted


def inspect(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print what is in a file."""
    paths, _ = parse(words, {})
    if not paths:
        raise ValueError("inspect needs a file: mpiopt inspect FILE.h5 …")
    from mpiopt.results import inspect

    marks = inspect.marks(sys.stdout.encoding)
    print_on_root(
        comm, together(comm, lambda: "\n\n".join(inspect.inspect(p, marks) for p in paths) if comm.rank == 0 else "")
    )
    return 0


def plot(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Draw the convergence of results into one picture."""
    paths, settings = parse(words, {"out": True})
    if not paths:
        raise ValueError("plot needs results: mpiopt plot RUN.h5 … [--out FILE.png]")
    from mpiopt.results import plot as drawing

    out = dict(settings).get("out", str(Path(paths[0]).with_suffix(".png")))
    together(comm, lambda: drawing.plot(paths, out) if comm.rank == 0 else None)
    if comm.rank == 0:
        print(f"drawn: {out}")
    return 0


def convert(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write a data file in the HDF5 form."""
    from mpiopt.data import convert as conversion

    positional, settings = parse(words, {"format": True, "features": True, "form": True, "float32": False})
    if len(positional) != 2:
        raise ValueError("convert IN OUT.h5 [--format NAME] [--features D] [--form auto|dense|csr] [--float32]")
    options = conversion.ConvertOptions(**typed(conversion.ConvertOptions, settings))
    report(comm, positional[1], conversion.convert(positional[0], positional[1], comm, options))
    return 0


def generate(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write made-up data: generate OUT.h5 --n 1e6 --d 100 --condition 1e4 …."""
    from mpiopt.data import convert as conversion
    from mpiopt.data.formats.synthetic import Generated

    flags = {**dict.fromkeys(Generated.options(), True), "form": True, "float32": False}
    positional, settings = parse(words, flags)
    if len(positional) != 1:
        listed = " ".join(f"--{f.name} {f.default}" for f in Generated.options().values())
        raise ValueError(f"generate OUT.h5 [--form auto|dense|csr] [--float32], and with their defaults {listed}")
    ours = [(key, value) for key, value in settings if key in ("form", "float32")]
    recipe = ",".join(f"{key}={value}" for key, value in settings if key not in ("form", "float32"))
    options = conversion.ConvertOptions(**typed(conversion.ConvertOptions, ours))
    report(comm, positional[0], conversion.generate(recipe, positional[0], comm, options))
    return 0


def report(comm: Comm, path: str, done: Converted) -> None:
    """Say what was written."""
    if comm.rank == 0:
        shape = f"{done.rows} rows, {done.features} features, {done.nonzeros} nonzeros"
        print(f"{path}: {shape}, {done.form}, checksum {done.checksum}")
