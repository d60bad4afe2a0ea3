"""What the command `path` leaves behind: a table or a result file, predictions out of fold, and what it prints."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root
from mpiopt.core.config.job import Job, Model
from mpiopt.core.config.spec import spec_of
from mpiopt.core.files import mark_output, write_whole
from mpiopt.core.history import HistoryRow
from mpiopt.data.dataset import Dataset
from mpiopt.data.offsets import apart
from mpiopt.objective.diagnostics import Diagnostics
from mpiopt.objective.judgement import GAP
from mpiopt.objective.objective import Objective
from mpiopt.results.model import class_names
from mpiopt.results.path_table import PathTable
from mpiopt.results.provenance import Provenance, gather
from mpiopt.results.result_file import write_result
from mpiopt.results.summary import metrics_line, wrapped
from mpiopt.training.cross_validation import CrossValidation
from mpiopt.training.outcome import bounded_line, matrix_line
from mpiopt.training.path import Path
from mpiopt.training.path_follow import PathPoint
from mpiopt.training.predict import predictions, write_lines
from mpiopt.training.problem import penalty
from mpiopt.training.row_numbers import in_file_order, numbers_in_file, offsets_in_file

CERTIFIED, NOT_CERTIFIED = 0, 3  # exit codes
FIGURES = ("strength", "l1", "l2", "objective", "certificate", "certified", "nonzeros", "epochs")


def as_csv(found: Path) -> str:
    """Return a path as CSV: a line for each point, with its penalty, its quality and its coefficients."""
    first, validated = found.points[0].model, found.cross_validation
    features = found.names or [f"x{j + 1}" for j in range(first.coef.shape[1])]
    labels = [] if first.classes is None else class_names(first.classes).tolist()
    outputs = [""] if len(first.coef) == 1 else [f"{label}: " for label in labels]
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    scores = ["score", "score error"] if validated is not None else []
    rows.writerow([*FIGURES, *scores, *(f"{output}{name}" for output in outputs for name in ("const", *features))])
    for k, point in enumerate(found.points):
        weights = np.column_stack([point.model.intercept, point.model.coef]).ravel()
        figures = [float(point.certified) if name == "certified" else getattr(point, name) for name in FIGURES]
        if validated is not None:
            figures += [float(validated.mean[k]), float(validated.error[k])]
        rows.writerow([*figures, *weights.tolist()])
    return out.getvalue()


def as_table(found: Path, chosen: int) -> PathTable:
    """Return a path as the result file has it."""
    points, validated = found.points, found.cross_validation
    made = PathTable.of(
        strength=found.strengths,
        l1=np.array([point.l1 for point in points]),
        l2=np.array([point.l2 for point in points]),
        objective=np.array([point.objective for point in points]),
        certificate=np.array([point.certificate for point in points]),
        certified=np.array([point.certified for point in points]),
        epochs=np.array([point.epochs for point in points]),
        coef=found.coef,
        intercept=found.intercept,
    )
    made = replace(made, chosen=chosen)
    if validated is None:
        return made
    return replace(
        made,
        scores=validated.scores,
        share=validated.share,
        repeats=validated.folds.repeats,
        score=validated.score,
        best=validated.best,
        simplest=validated.simplest,
    )


def model_at(model: Model, point: PathPoint) -> Model:
    """Return what a point minimises."""
    strength = model.ridge_strength * (point.strength if model.ridge_matrix else 1.0)
    return replace(model, l1=point.l1, l2=point.l2, ridge_strength=strength)


def write_path_result(
    job: Job,
    data: Dataset,
    objective: Objective,
    found: Path,
    chosen: int,
    tested: dict[str, float],
    drawn: Diagnostics | None,
    comm: Comm,
    began: float,
) -> None:
    """Write the result file, whose model is that of the chosen point; collective."""
    point = found.points[chosen]
    known = Provenance(
        job=replace(job, model=model_at(job.model, point)).text(),
        seed=job.seed,
        data=data.source,
        data_checksum=data.checksum,
        objective="(1/N) sum_i s_i loss_i(W x_i + b) + l1 |W|_1 + (l2/2) |W|^2, weights s_i of mean 1"
        + bounded_line(objective)
        + matrix_line(model_at(job.model, point)),
        loss=str(spec_of(objective.loss)),
        penalty=str(spec_of(replace(objective, penalty=penalty(point.l1, point.l2)).named_penalty)),
        exit_status=CERTIFIED if found.certified else NOT_CERTIFIED,
        certificate_kind=GAP,
        certificate=point.certificate,
    )
    model = replace(point.model, feature_names=data.names)
    write_result(
        job.out,
        model=model,
        history=_history(found, time.perf_counter() - began)[: chosen + 1],
        provenance=gather(comm, known),
        comm=comm,
        test=tested,
        schema=data.schema,
        points=as_table(found, chosen),
        diagnostics=drawn,
    )
    run_on_root(comm, lambda: mark_output(FilePath(job.out), "path"))


def write_out_of_fold(out: str, job: Job, data: Dataset, objective: Objective, found: Path, comm: Comm) -> None:
    """Write a line for each row, in the order of the file; collective.

    It has the probabilities of the classes, or the expected value; for other losses for classes the label. A row that
    is never held out has nan.
    """
    validated, shard = found.cross_validation, data.shard
    if validated is None:
        return
    margins, _ = apart(validated.margins + data.coordinates.label_origin, shard.label)
    z = in_file_order(numbers_in_file(job, shard, "oof"), margins, shard.total, comm)
    added = None if shard.has_offsets else offsets_in_file(job, objective, comm)
    z = z if added is None else z + added[:, None]
    loss = objective.loss.name
    kind = "probability" if loss in ("logistic", "softmax") else "label"
    answers = predictions(found.points[0].model, z, loss, kind)
    missing = np.isnan(z[:, 0])
    if missing.any():
        answers = answers.astype(object)
        answers[missing] = np.nan
    write_lines(out, answers, comm)
    run_on_root(comm, lambda: mark_output(FilePath(out), "path"))


def told(found: Path, chosen: int, tested: dict[str, float], scaled: bool) -> list[str]:
    """Return lines about the scores of the folds, the chosen point and the test rows; `scaled`: columns are."""
    lines = [] if found.cross_validation is None else _scores(found.cross_validation, scaled)
    if lines or tested:
        point = found.points[chosen]
        lines.append(f"model: point {chosen}, strength {point.strength:.4e}, {point.nonzeros} nonzeros")
    return [wrapped(line) for line in [*lines, *([f"test rows: {metrics_line(tested)}"] if tested else [])]]


def _scores(validated: CrossValidation, scaled: bool) -> list[str]:
    lines = []
    for name, k in (("best", validated.best), ("within one standard error", validated.simplest)):
        score = f"{validated.score} {validated.mean[k]:.6g} ± {validated.error[k]:.2g}"
        lines.append(f"{name}: point {k}, strength {validated.strengths[k]:.4e}, {score}")
    spread = ", ".join(
        f"{name} {values.mean():.6g} (sd {values.std(ddof=1):.2g})" for name, values in validated.quality.items()
    )
    lines.append(f"folds at the best point: {spread}")
    if validated.best == len(validated.strengths) - 1 > 0:
        advice = "" if scaled else "; if columns differ much in size, try --scale standard"
        lines.append(
            f"the best point is the last one: a weaker penalty may be better (a smaller --min-ratio){advice}"
        )
    return lines


def write_csv(out: str, content: str) -> None:
    """Write the text of a table, all or nothing; local."""
    write_whole(FilePath(out), content.encode())
    mark_output(FilePath(out), "path")


def _history(found: Path, seconds: float) -> list[HistoryRow]:
    """Return a row for each point; its seconds are a share of the whole by its epochs."""
    spent = np.cumsum([point.epochs for point in found.points]).tolist()
    whole = spent[-1] or 1.0
    return [
        HistoryRow(
            round=k,
            epoch=spent[k],
            seconds=seconds * spent[k] / whole,
            seconds_compute=0.0,
            seconds_communicate=0.0,
            seconds_wait=0.0,
            bytes_sent=0,
            bytes_plain=0,
            objective=point.objective,
            certificate=point.certificate,
            step_size=0.0,
        )
        for k, point in enumerate(found.points)
    ]
