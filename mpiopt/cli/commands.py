"""The commands inspect, plot, convert and generate: their arguments, and the call that does the work."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mpiopt.cli.help import CALLS, generate_call
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.flags import parse, typed
from mpiopt.resilience.signals import StopSignal

if TYPE_CHECKING:
    from mpiopt.data.convert import Converted


def inspect(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the contents of results, checkpoints and data files."""
    paths, _ = parse(words, {})
    if not paths:
        raise ValueError("inspect needs a file: mpiopt inspect FILE.h5 …")
    from mpiopt.results import inspect

    marks = inspect.marks(sys.stdout.encoding)
    with comm.agree_on_errors():
        text = "\n\n".join(inspect.inspect(p, marks) for p in paths) if comm.rank == 0 else ""
    print_on_root(comm, text)
    return 0


def plot(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Draw the convergence of results in one picture."""
    paths, settings = parse(words, {"out": True})
    if not paths:
        raise ValueError("plot needs a result: mpiopt plot RUN.h5 … [--out FILE.png]")
    from mpiopt.results import plot as drawing

    out = dict(settings).get("out", str(Path(paths[0]).with_suffix(".png")))
    with comm.agree_on_errors():
        if comm.rank == 0:
            drawing.plot(paths, out)
    print_on_root(comm, f"written: {out}")
    return 0


def convert(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write a data file as HDF5."""
    from mpiopt.data import convert as conversion

    positional, settings = parse(words, {"format": True, "features": True, "form": True, "float32": False})
    if len(positional) != 2:
        raise ValueError(f"convert needs two files: mpiopt {CALLS['convert']}")
    options = conversion.ConvertOptions(**typed(conversion.ConvertOptions, settings))
    _report(comm, positional[1], conversion.convert(positional[0], positional[1], comm, options))
    return 0


def generate(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write a synthetic data set."""
    from mpiopt.data import convert as conversion
    from mpiopt.data.formats.synthetic import Generated

    of_file = {"form": True, "float32": False}
    positional, settings = parse(words, {**dict.fromkeys(Generated.options(), True), **of_file})
    if len(positional) != 1:
        raise ValueError(f"generate needs one file: mpiopt {generate_call()}")
    recipe = ",".join(f"{key}={value}" for key, value in settings if key not in of_file)
    file_settings = [(key, value) for key, value in settings if key in of_file]
    options = conversion.ConvertOptions(**typed(conversion.ConvertOptions, file_settings))
    _report(comm, positional[0], conversion.generate(recipe, positional[0], comm, options))
    return 0


def _report(comm: Comm, path: str, written: Converted) -> None:
    shape = f"{written.rows} rows, {written.features} features, {written.nonzeros} nonzeros"
    print_on_root(comm, f"{path}: {shape}, {written.form}, checksum {written.checksum}")
