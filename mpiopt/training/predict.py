"""The command `predict`: apply a model to a data file, on all ranks, a piece of the rows at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import check_writable, print_on_root, run_on_root
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job_file import read
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.files import mark_output, refuse_existing, refuse_onto
from mpiopt.data import scaling
from mpiopt.data.formats.base import Source, open_source
from mpiopt.data.given_offsets import refuse_changed_file
from mpiopt.data.matching import open_like
from mpiopt.data.offsets import beside
from mpiopt.data.row_checks import FileStatistics, check_pieces
from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.data.tables.files import are_parts, joined
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.metrics import metrics
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.ending import CERTIFIED
from mpiopt.results.model import FittedModel, class_names, expected, probabilities
from mpiopt.results.result_file import Result, read_result
from mpiopt.results.summary import metrics_line
from mpiopt.training.problem import make_loss

Matrix = NDArray[np.float64]
FLAGS = {"out": True, "overwrite": False, "format": True, "kind": True, "quiet": False}
KINDS = ("label", "probability", "margin")
NO_LABELS = "no labels"


class Applied(NamedTuple):
    """A model applied to this rank's rows."""

    margins: Matrix  # (n, outputs)
    label: Matrix  # (n,), NaN where the file has none
    weight: Matrix  # (n,)
    offset: Matrix  # (n,) to add to the margins
    stays: bool  # whether the offset belongs to the labels; else label and weight are those without it


def predict(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Predict each row of a file, print the quality if there are labels, write one line for each row to --out."""
    positional, settings = parse(words, FLAGS)
    chosen = dict(settings)
    kind = chosen.get("kind", "label")
    if kind not in KINDS:
        raise ValueError(f"--kind must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {kind!r}")
    if len(positional) < 2 or (len(positional) > 2 and not are_parts(positional[1:])):
        raise ValueError("predict needs a model and a data file: mpiopt predict MODEL.h5 DATA [flags]")
    model_path, path = positional[0], joined(positional[1:])
    with comm.agree_on_errors():
        refuse_onto(chosen.get("out", ""), model_path, path)
        result = read_result(model_path)
    if "out" in chosen:
        run_on_root(comm, lambda: refuse_existing(chosen["out"], "overwrite" in chosen, "predict"))
        check_writable(chosen["out"], comm)
    loss = parse_spec(str(result.provenance["loss"]))
    source = open_data(path, chosen.get("format", "auto"), result, comm)
    if source.total == 0:
        raise ValueError(f"{path}: has no rows")
    notes = [*source.notes, *([] if result.ending.kind == CERTIFIED else [f"{model_path}: {result.ending.text}"])]
    if notes and "quiet" not in chosen:
        print_on_root(comm, "\n".join(notes))
    with comm.agree_on_errors():
        applied, seen = apply(result.model, source, read(result.job).data.scale)
    refuse_changed_file(source, seen.over_ranks(comm), comm)
    answers = predictions(result.model, applied.margins + applied.offset[:, None], loss.name, kind)
    if "out" in chosen:
        write_lines(chosen["out"], answers, comm)
    quality = measured(applied, result.model, make_loss(loss), comm)
    if "quiet" not in chosen:
        written = f"; written to {chosen['out']}" if "out" in chosen else ""
        if quality == NO_LABELS and not written:
            written = " to compare with, and no --out FILE for the predictions: nothing is written"
        print_on_root(comm, f"{path}: {quality}{written}")
    return 0


def measured(applied: Applied, model: FittedModel, loss: Loss, comm: Comm) -> str:
    """Return the metrics in one line, or why there are none; collective."""
    missing = comm.max(np.array([0.0, float(np.isnan(applied.label).any())]))[1] > 0
    if missing or int(comm.sum(np.array([len(applied.label)]))[0]) == 0:
        return NO_LABELS
    label = as_trained(applied.label, model, loss.target)
    unknown = float(comm.sum(np.array([float(np.isnan(label).sum())]))[0])
    if unknown:
        return f"not measured, {unknown:g} rows have labels that the model was not trained on"
    label = beside(label, applied.offset if applied.stays else None)
    return metrics_line(metrics(loss.target, applied.margins, label, applied.weight, comm, loss))


def open_data(path: str, form: str, result: Result, comm: Comm) -> Source:
    """Open the file as the training file was opened; collective."""
    if result.schema is None:  # a result of an earlier version
        return open_source(path, form, result.coef.shape[1], comm)
    return open_like(path, form, result.schema, comm)


def apply(model: FittedModel, source: Source, scale: str) -> tuple[Applied, FileStatistics]:
    """Return margins, labels and weights of this rank's rows, and what was seen of them for the checksum; local.

    It holds one piece of the rows at a time.

    Raises
    ------
    ValueError
        If the rows are dense and have fewer columns than the model.
    """
    z, labels, weights, offsets = [np.empty((0, len(model.coef)))], [np.empty(0)], [np.empty(0)], [np.empty(0)]
    wanted, seen = model.coef.shape[1], FileStatistics()
    for piece in check_pieces(source):
        if source.checksum is not None:
            seen.add(piece)
        if not isinstance(piece.rows, CsrRows) and piece.rows.shape[1] < wanted:
            few = piece.rows.shape[1]  # sparse rows may end before the last column
            raise ValueError(f"{source.path}: rows have {few} columns, the model has {wanted}")
        rows = piece.rows if isinstance(piece.rows, CsrRows) else DenseRows(np.ascontiguousarray(piece.rows))
        z.append(model.margins(of_length_one(rows) if scale == "unit-rows" else rows))
        labels.append(piece.label)
        weights.append(np.ones(len(piece)) if piece.weight is None else piece.weight)
        offsets.append(np.zeros(len(piece)) if piece.offset is None else piece.offset)
    margins, label, weight, offset = (np.concatenate(parts) for parts in (z, labels, weights, offsets))
    return Applied(margins, label, weight, offset, source.offsets_stay), seen


def of_length_one(rows: Rows) -> Rows:
    """Return a copy of rows, each divided by its norm."""
    copied = replace(rows, values=rows.values.astype(np.float64))
    scaling.apply("unit-rows", copied, np.zeros(rows.width), np.ones(rows.width))
    return copied


def as_trained(label: Matrix, model: FittedModel, target: str) -> Matrix:
    """Return the labels as the loss takes them; NaN for a label that is no class of the model."""
    if model.classes is None:
        return label
    words = np.asarray(model.classes).dtype.kind not in "fiub"  # labels are the numbers of such classes
    classes = np.arange(len(model.classes), dtype=np.float64) if words else np.asarray(model.classes, np.float64)
    number = np.minimum(np.searchsorted(classes, label), len(classes) - 1)
    mapped = 2.0 * number - 1.0 if target == "binary" else number.astype(np.float64)
    return np.where(classes[number] == label, mapped, np.nan)


def predictions(model: FittedModel, z: Matrix, loss: str, kind: str) -> NDArray[np.generic]:
    """Return labels, probabilities, margins or expected values from margins, (n,) or (n, classes)."""
    if kind == "margin":
        return z if z.shape[1] > 1 else z[:, 0]
    if kind == "probability":
        return probabilities(z, loss)
    if model.classes is None:
        return expected(z[:, 0], loss)
    names = class_names(model.classes)
    return np.asarray(names[z.argmax(axis=1) if z.shape[1] > 1 else (z[:, 0] > 0).astype(int)])


def write_lines(path: str, answers: NDArray[np.generic], comm: Comm) -> None:
    """Write one line for each row, in the order of the file; every rank writes its part of one file; collective."""
    table = answers if answers.ndim == 2 else answers[:, None]
    text = "".join(" ".join(map(str, row)) + "\n" for row in table.tolist()).encode()
    lengths = [int(n[0]) for n in comm.allgather(np.array([len(text)]))]
    partial = Path(path + ".partial")
    with comm.agree_on_errors():
        if comm.rank == 0:
            partial.write_bytes(b"")
    with comm.agree_on_errors():
        write_at(partial, text, sum(lengths[: comm.rank]))
    with comm.agree_on_errors():
        if comm.rank == 0:
            os.replace(partial, path)
            mark_output(Path(path), "predict")


def write_at(path: Path, text: bytes, offset: int) -> None:
    """Write bytes into a file at an offset."""
    with path.open("r+b") as f:
        f.seek(offset)
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
