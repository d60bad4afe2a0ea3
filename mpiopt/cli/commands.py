"""The commands inspect, plot, convert and generate: their arguments, and the call that does the work."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mpiopt.cli.help import CALLS, generate_call
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.flags import Settings, parse, typed
from mpiopt.core.files import mark_output, refuse_existing
from mpiopt.resilience.signals import StopSignal

if TYPE_CHECKING:
    from mpiopt.data.convert import Converted


def inspect(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the contents of results, checkpoints and data files."""
    paths, settings = parse(words, {"coefficients": True, "sort": True, "filter": True})
    if not paths:
        raise ValueError("inspect needs a file: mpiopt inspect FILE.h5 …")
    from mpiopt.results import inspect
    from mpiopt.results.coefficients import CoefficientsShown
    from mpiopt.results.run_record import show_sound

    marks = inspect.marks(sys.stdout.encoding)
    shown = CoefficientsShown(**typed(CoefficientsShown, settings))
    texts: dict[str, str] = {}
    show_sound(
        comm,
        paths,
        lambda path: texts.update({path: inspect.inspect(path, marks, shown)}),
        lambda sound: "\n\n".join(texts[path] for path in sound),
    )
    return 0


def describe(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print what the columns of a table hold."""
    from mpiopt.data.tables.describe import describe as describe_table
    from mpiopt.data.tables.files import joined

    of_columns = _column_flags()
    paths, settings = parse(words, {**of_columns, "format": True})
    if not paths:
        raise ValueError(f"describe needs a table: mpiopt {CALLS['describe']}")
    options = _column_options(settings, of_columns)
    form = dict(settings).get("format", "auto")
    print_on_root(comm, describe_table(joined(paths), form, options, comm))
    return 0


def _column_flags() -> dict[str, bool]:
    """Return the flags of the columns of a table; a value follows each."""
    return {f.name.replace("_", "-"): True for f in fields(ColumnOptions)}


def _column_options(settings: Settings, flags: Collection[str]) -> ColumnOptions:
    chosen = [(key.replace("-", "_"), value) for key, value in settings if key in flags]
    return ColumnOptions(**typed(ColumnOptions, chosen))


def plot(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Draw the convergence of results in one picture."""
    paths, settings = parse(words, {"out": True, "overwrite": False})
    if not paths:
        raise ValueError("plot needs a result: mpiopt plot RUN.h5 … [--out FILE.png]")
    from mpiopt.results import plot as drawing
    from mpiopt.results.run_record import show_sound, with_history

    out = dict(settings).get("out", str(Path(paths[0]).with_suffix(".png")))

    def draw(sound: list[str]) -> str:
        refuse_existing(out, "overwrite" in dict(settings), "plot")
        drawing.plot(sound, out)
        mark_output(Path(out), "plot")
        return f"written: {out}"

    show_sound(comm, paths, with_history, draw)
    return 0


def convert(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write a data file as HDF5."""
    from mpiopt.data import convert as conversion
    from mpiopt.data.tables.files import are_parts, joined

    switches = {"float32": False, "overwrite": False}
    of_columns = _column_flags()
    positional, settings = parse(words, {"format": True, "features": True, "form": True, **switches, **of_columns})
    if len(positional) < 2 or (len(positional) > 2 and not are_parts(positional[:-1])):
        raise ValueError(f"convert needs two files: mpiopt {CALLS['convert']}")
    plain = [(key, value) for key, value in settings if key not in of_columns]
    options = conversion.ConvertOptions(
        **typed(conversion.ConvertOptions, plain), columns=_column_options(settings, of_columns)
    )
    _report(comm, positional[-1], conversion.convert(joined(positional[:-1]), positional[-1], comm, options))
    return 0


def generate(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write a synthetic data set."""
    from mpiopt.data import convert as conversion
    from mpiopt.data.formats.synthetic import Generated

    of_file = {"form": True, "float32": False, "overwrite": False}
    positional, settings = parse(words, {**dict.fromkeys(Generated.options(), True), **of_file})
    if len(positional) != 1:
        raise ValueError(f"generate needs one file: mpiopt {generate_call()}")
    recipe = ",".join(f"{key}={value}" for key, value in settings if key not in of_file)
    file_settings = [(key, value) for key, value in settings if key in of_file]
    options = conversion.ConvertOptions(**typed(conversion.ConvertOptions, file_settings))
    _report(comm, positional[0], conversion.generate(recipe, positional[0], comm, options))
    return 0


def _report(comm: Comm, path: str, written: Converted) -> None:
    for note in written.notes:
        print_on_root(comm, note)
    shape = f"{written.rows} rows, {written.features} features, {written.nonzeros} nonzeros"
    print_on_root(comm, f"{path}: {shape}, {written.form}, checksum {written.checksum}")
