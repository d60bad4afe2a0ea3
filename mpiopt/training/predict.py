"""The command `predict`: apply a model to a data file, on all ranks, a piece of the rows at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import check_writable, print_on_root
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job import DataOptions
from mpiopt.core.config.job_file import read
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.files import refuse_onto
from mpiopt.data.dataset import stream
from mpiopt.data.shard import CsrRows, DenseRows
from mpiopt.objective.metrics import metrics
from mpiopt.objective.passes import margins, squared_norms
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.model import FittedModel, class_names, expected, probabilities
from mpiopt.results.result_file import read_result
from mpiopt.results.summary import metrics_line
from mpiopt.training.problem import make_loss

Matrix = NDArray[np.float64]
FLAGS = {"out": True, "format": True, "kind": True, "quiet": False}
KINDS = ("label", "probability", "margin")


class Applied(NamedTuple):
    """A model applied to this rank's rows."""

    margins: Matrix  # (n, outputs)
    label: Matrix  # (n,), NaN where the file has none
    weight: Matrix  # (n,)


def predict(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Predict each row of a file, print the quality if there are labels, write one line for each row to --out."""
    positional, settings = parse(words, FLAGS)
    chosen = dict(settings)
    kind = chosen.get("kind", "label")
    if kind not in KINDS:
        raise ValueError(f"--kind must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {kind!r}")
    if len(positional) != 2:
        raise ValueError("predict needs a model and a data file: mpiopt predict MODEL.h5 DATA [flags]")
    model_path, path = positional
    with comm.agree_on_errors():
        refuse_onto(chosen.get("out", ""), model_path, path)
        result = read_result(model_path)
    if "out" in chosen:
        check_writable(chosen["out"], comm)
    loss = parse_spec(str(result.provenance["loss"]))
    options = DataOptions(format=chosen.get("format", "auto"), features=result.coef.shape[1])
    with comm.agree_on_errors():
        applied = apply(result.model, path, options, read(result.job).data.scale, comm)
    answers = predictions(result.model, applied.margins, loss.name, kind)
    if "out" in chosen:
        write_lines(chosen["out"], answers, comm)
    quality = measured(applied, result.model, make_loss(loss).target, comm)
    if "quiet" not in chosen:
        print_on_root(comm, f"{path}: {quality}" + (f"; written to {chosen['out']}" if "out" in chosen else ""))
    return 0


def measured(applied: Applied, model: FittedModel, target: str, comm: Comm) -> str:
    """Return the metrics in one line, or why there are none; collective."""
    missing = comm.max(np.array([0.0, float(np.isnan(applied.label).any())]))[1] > 0
    if missing or int(comm.sum(np.array([len(applied.label)]))[0]) == 0:
        return "no labels"
    label = as_trained(applied.label, model, target)
    unknown = float(comm.sum(np.array([float(np.isnan(label).sum())]))[0])
    if unknown:
        return f"not measured, {unknown:g} rows have labels that the model was not trained on"
    return metrics_line(metrics(target, applied.margins, label, applied.weight, comm))


def apply(model: FittedModel, path: str, options: DataOptions, scale: str, comm: Comm) -> Applied:
    """Return margins, labels and weights of this rank's rows; holds one piece of the rows at a time.

    Raises
    ------
    ValueError
        On all ranks: the rows are dense and have fewer columns than the model.
    """
    z, labels, weights = [np.empty((0, len(model.coef)))], [np.empty(0)], [np.empty(0)]
    wanted, few = model.coef.shape[1], 0
    for piece in stream(path, options, comm):
        if not isinstance(piece.rows, CsrRows) and piece.rows.shape[1] < wanted:
            few = piece.rows.shape[1]  # sparse rows may end before the last column
            continue
        rows = piece.rows if isinstance(piece.rows, CsrRows) else DenseRows(np.ascontiguousarray(piece.rows))
        found = margins(rows, np.ascontiguousarray(model.coef[:, : rows.width]))
        if scale == "unit-rows":
            norms = np.sqrt(squared_norms(rows))
            found /= np.where(norms > 0, norms, 1.0)[:, None]
        z.append(found + model.intercept)
        labels.append(piece.label)
        weights.append(np.ones(len(piece)) if piece.weight is None else piece.weight)
    comm.agree(ValueError(f"{path}: rows have {few} columns, the model has {wanted}") if few else None)
    return Applied(np.concatenate(z), np.concatenate(labels), np.concatenate(weights))


def as_trained(label: Matrix, model: FittedModel, target: str) -> Matrix:
    """Return the labels as the loss takes them; NaN for a label that is no class of the model."""
    if model.classes is None:
        return label
    classes = np.asarray(model.classes, dtype=np.float64)
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


def write_at(path: Path, text: bytes, offset: int) -> None:
    """Write bytes into a file at an offset."""
    with path.open("r+b") as f:
        f.seek(offset)
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
