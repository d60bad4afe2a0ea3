"""`mpiopt inspect FILE.h5`: the content of a result, a checkpoint or a converted data file, as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.core.durations import duration
from mpiopt.core.history import rows_from_text, table
from mpiopt.resilience.checkpoint.header import Head
from mpiopt.results.coefficients import SOME, CoefficientsShown, coefficient_rows
from mpiopt.results.contents import contents, read_head
from mpiopt.results.path_table import PathTable
from mpiopt.results.result_file import Result, read_result
from mpiopt.results.run_record import Table
from mpiopt.results.summary import saved, size

Vector = NDArray[np.float64]

BLOCKS = "▁▂▃▄▅▆▇█"  # marks of a curve, low to high
PLAIN = "_.-:=+*#"  # the same for an output that is not Unicode
CURVE_WIDTH = 50  # characters of a curve
TEXT_WIDTH = 76  # characters of names and values
ROWS_SHOWN = 12  # of the history
FEW = 10  # values of a short list that are shown
SHOWN_ABOVE = frozenset(
    {"certificate", "certificate_kind", "ending", "reason"}
)  # provenance that the summary has already


def inspect(path: str | Path, marks: str = BLOCKS, shown: CoefficientsShown = SOME) -> str:
    """Return the table of a file, with curves drawn by `marks`; ValueError, one line, if it cannot be read."""
    content = contents(path)
    if content.kind == "mpiopt result":
        return show_result(str(path), read_result(path), marks, shown)
    if content.kind == "mpiopt checkpoint":
        return show_checkpoint(str(path), read_head(path), marks)
    attributes = pairs(list(content.attributes.items()))
    parts = [(p.name, _shape(p.shape), p.dtype, size(p.nbytes), p.storage) for p in content.parts]
    listed = columns(("dataset", "shape", "type", "size", "storage"), parts)
    return "\n".join([f"{path}: {content.kind or 'HDF5 file'}", *([attributes] if attributes else []), "", listed])


def show_result(path: str, result: Result, marks: str, shown: CoefficientsShown = SOME) -> str:
    """Return the table of a result."""
    model = result.model
    rows = [
        ("status", result.ending.text),
        ("model", f"{_shape(model.coef.shape)} coefficients, {np.count_nonzero(model.coef)} not zero"),
        ("intercept", _few(model.intercept)),
        ("classes", _few(model.classes) if model.classes is not None else "real targets"),
        ("scaled", "columns were scaled in training" if model.feature_scale is not None else "no"),
        *_summary(result),
        *_path(result.path),
        *(
            (name, str(value))
            for name, value in sorted(result.provenance.items())
            if str(value) and name not in SHOWN_ABOVE
        ),
    ]
    job = textwrap.indent(result.job.strip() or "(empty)", "  ")
    parts = [f"{path}: mpiopt result\n{pairs(rows)}", *curves(result.history, marks), history(result)]
    try:
        found = coefficient_rows(model, shown)
    except ValueError as fault:
        raise ValueError(f"{path}: {fault}") from None
    if found.rows:
        parts.append(f"{found.title}\n{columns(found.heads, found.rows)}")
    return "\n\n".join([*parts, f"job\n{job}"])


def curves(rows: Table, marks: str) -> list[str]:
    """Return the curves of the certificate, the objective minus its smallest value, and the step size."""
    if len(rows) < 2:
        return []
    objective = rows["objective"] - np.nanmin(rows["objective"])
    drawn = {
        "certificate": rows["certificate"],
        "objective - best": np.where(objective > 0.0, objective, np.nan),
        "step size": np.where(rows["step_size"] > 0.0, rows["step_size"], np.nan),
    }
    return ["\n".join(curve(name, values, marks) for name, values in drawn.items() if np.isfinite(values).any())]


def curve(name: str, values: Vector, marks: str) -> str:
    """Return a curve in one line, with its first and its last number."""
    known = values[np.isfinite(values)]
    return f"  {name:<17} {sparkline(values, marks)}  {known[0]:.2g} to {known[-1]:.2g}"


def _summary(result: Result) -> list[tuple[str, str]]:
    if len(result.history) == 0:
        return []
    last = result.history[-1]
    kind = str(result.provenance.get("certificate_kind") or "certificate")
    return [
        ("objective value", f"{last['objective']:.15g}"),
        (kind, f"{last['certificate']:.3e}"),
        ("cost", f"{last['epoch']:.6g} epochs, {last['round']} rounds"),
        ("bytes sent", saved(last["bytes_sent"], last["bytes_plain"])),
        ("time", duration(float(last["seconds"]))),
    ]


def _path(points: PathTable | None) -> list[tuple[str, str]]:
    """Return what a result of the command `path` says of its points."""
    if points is None:
        return []
    extent = f"λ {points.strength[0]:.4g} to {points.strength[-1]:.4g}, {int(points.certified.sum())} certified"
    rows = [("path", f"{len(points.strength)} points, {extent}; the model is point {points.chosen}")]
    if points.score:
        mean = points.mean
        rows.append(
            (
                f"{points.scores.shape[1]} folds" + (f" in {points.repeats} repeats" if points.repeats > 1 else ""),
                f"{points.score} {mean[points.best]:.6g} at point {points.best}, "
                f"{mean[points.simplest]:.6g} at {points.simplest} (one standard error)",
            )
        )
    return rows


def history(result: Result) -> str:
    """Return some rows of the history."""
    rows = result.history
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(ROWS_SHOWN, len(rows))).round().astype(int))
    names = ("round", "epoch", "seconds", "objective", "certificate", "step_size")
    forms = ("{}", "{:.4g}", "{:.4g}", "{:.12g}", "{:.2e}", "{:.3g}")
    cells = [[form.format(r[name]) for name, form in zip(names, forms, strict=True)] for r in rows[chosen]]
    return f"history, {len(cells)} of {len(rows)} rows\n" + columns(names, cells)


def show_checkpoint(path: str, head: Head, marks: str) -> str:
    """Return the table of a checkpoint."""
    form = f"one file for each of {head.size} ranks" if head.files else "one file shared by all ranks"
    short = [(k, str(v)) for k, v in head.meta.items() if k != "job" and len(str(v)) <= 60]
    fields = [
        (
            name,
            f.layout.lower().replace("_", " "),
            f.dtype.lstrip("<=|"),
            _shape(f.shape),
            size(_nbytes(f.dtype, f.shape)),
        )
        for name, f in head.fields.items()
    ]
    top = pairs(
        [("round", str(head.k)), ("ranks", str(head.size)), ("rows", f"{head.total:,}"), ("form", form), *short]
    )
    listed = columns(("field", "over the ranks", "type", "shape", "size"), fields)
    job = textwrap.indent(str(head.meta.get("job", "")).strip() or "(empty)", "  ")
    drawn = curves(table(rows_from_text(str(head.meta.get("history", "[]")))), marks)
    return "\n\n".join([f"{path}: mpiopt checkpoint\n{top}", *drawn, listed, f"job\n{job}"])


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values in two columns; long values are wrapped."""
    widest = max((len(name) for name, _ in rows), default=0)
    lines = []
    for name, value in rows:
        wrapped = textwrap.wrap(value, TEXT_WIDTH - widest, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append(f"  {name:<{widest}}  {wrapped[0]}")
        lines += [" " * (widest + 4) + more for more in wrapped[1:]]
    return "\n".join(lines)


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the first column is left-aligned, columns of numbers are right-aligned."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    right = [i > 0 and all(row[i][:1].isdigit() or row[i][:1] in "-+" for row in rows) for i in range(len(heads))]
    lines = []
    for row in [heads, *rows]:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def _few(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    shown = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in values[:FEW].tolist()]
    return ", ".join(shown) + (f", … ({len(values)})" if len(values) > FEW else "")


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(str(n) for n in shape) or "1"


def _nbytes(dtype: str, shape: Sequence[int]) -> int:
    return np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))


def marks(encoding: str | None) -> str:
    """Return the marks, low to high, that an output of this encoding can show."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def sparkline(values: ArrayLike, shown: Sequence[str] = BLOCKS) -> str:
    """Draw a curve in one line: of logarithms if all values are positive; values that are not finite are blanks."""
    y = np.asarray(values, dtype=np.float64)
    y = y[np.unique(np.linspace(0, len(y) - 1, min(CURVE_WIDTH, len(y))).round().astype(int))] if len(y) else y
    finite = np.isfinite(y)
    if not finite.any():
        return " " * len(y)
    if (y[finite] > 0.0).all():
        y = np.log(y, out=np.full_like(y, np.nan), where=finite)
    low, span = y[finite].min(), np.ptp(y[finite])
    share = (y - low) / span if span > 0.0 else np.zeros_like(y)
    places = np.where(finite, np.nan_to_num(share) * (len(shown) - 1), 0.0).round().astype(int)
    return "".join(shown[p] if ok else " " for p, ok in zip(places, finite, strict=True))
