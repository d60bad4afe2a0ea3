"""The command `path`: certified models over a grid of strengths of the penalty, as a table or a result file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path as FilePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import check_writable, print_on_root, run_on_root
from mpiopt.compress.channel import Channel
from mpiopt.core.config import job_file
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.flags import Settings, parse, typed
from mpiopt.core.config.folds import FoldOptions, check_score
from mpiopt.core.config.job import Job
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec
from mpiopt.core.files import refuse_existing, refuse_onto
from mpiopt.data.dataset import Dataset, prepare
from mpiopt.data.tables.files import are_parts, joined
from mpiopt.objective.losses.base import loss_targets
from mpiopt.objective.metrics import metrics
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.training import ridge_matrix
from mpiopt.training.coefficient_bounds import refuse_summary
from mpiopt.training.fold_options import Labels, chosen_point, folds_of_file, read_labels
from mpiopt.training.job_args import job_text, stem
from mpiopt.training.label_origin import posed_data
from mpiopt.training.path import Validation, find_path
from mpiopt.training.path_follow import Follower, Found, Frame, PathOptions, PathPoint, Progress, StoppedPath
from mpiopt.training.path_output import (
    CERTIFIED,
    NOT_CERTIFIED,
    as_csv,
    model_at,
    told,
    write_csv,
    write_out_of_fold,
    write_path_result,
)
from mpiopt.training.path_posed import posed_path, refuse_l1_beside_matrix
from mpiopt.training.path_report import (
    RESULT,
    AnswerOptions,
    diagnostics_of_path,
    summary_of_path,
    write_answers,
)
from mpiopt.training.path_saved import ALL_ROWS, SUFFIX, SavedPoints
from mpiopt.training.problem import link_of, refuse_infinite, target_of

OF_JOB = (
    *(
        "format",
        "features",
        "intercept",
        "scale",
        "coordinates",
        "float32",
        "shards",
        "loss",
        "algorithm",
        "l1-groups",
        "nonnegative",
        "bounds",
        "ridge-matrix",
        "ridge-strength",
    ),
    *("tol", "max-epochs", "seed", "out", "overwrite", "quiet", "test", "holdout", "resume"),
    *(field.name.replace("_", "-") for field in fields(ColumnOptions)),
)
SUFFIXES = (".csv", RESULT)
SELECTION = "selection"  # table of a job file with the flags that a job does not have
NUMBERS = ("l1-ratio", "points", "min-ratio", "folds", "repeats")


class Grids(NamedTuple):
    """The flags of the command beside those of the job."""

    options: PathOptions
    folds: FoldOptions
    answers: AnswerOptions


def path(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Fit a path to a file, print a line for each point, write the models to --out; return the exit code."""
    known, own = job_file.flags(), own_flags()
    positional, settings = parse(words, {**{name: known[name] for name in OF_JOB}, **dict.fromkeys(own, True)})
    with comm.agree_on_errors():
        read = _read(positional)
        asked = _asked([*_selected(read, own), *(one for one in settings if one[0] in own)], own)
        job = _job(read, [one for one in settings if one[0] not in own], asked)
    for out in filter(None, (job.out, asked.folds.oof, *asked.answers.files)):
        run_on_root(comm, lambda out=out: refuse_existing(out, job.overwrite, "path"))  # type: ignore[misc]
        check_writable(out, comm)
    began = time.perf_counter()
    labels = read_labels(job, asked.folds, comm)
    data = prepare(job.path, target_of(job.model), job.data, job.seed, comm, loss_targets(), link_of(job.model))
    data, objective = posed_data(job, job.model, data, comm)
    refuse_infinite(objective, job.path, comm)
    frame = Frame(data.mean, data.scale, data.coordinates, data.class_labels)
    problem = posed_path(objective, job.model, frame, data.names, asked.options.l1_ratio, comm)
    objective = problem.given
    if asked.answers.summary:
        refuse_summary(job.model)
    if asked.answers.summary and objective.outputs > 1:
        raise ValueError("--summary is for models with one output: l1 chooses other columns for each class")
    validation = Validation(folds_of_file(job, asked.folds, labels, objective, comm), asked.folds.score)
    before = job.out if job.resume in ("", "auto") else job.resume.removesuffix(SUFFIX)
    saved = SavedPoints(before, _identity(job, asked, data, labels), comm)
    if job.resume:
        saved.load(job.resume != "auto")
    lines = Lines(saved, job.quiet, comm, stop)
    posed = problem.posed, problem.frame, asked.options, job.stop, job.algorithm, comm
    try:
        found = find_path(*posed, validation, lines, saved.strengths)
    except StoppedPath:
        kept = f"; go on with --resume {job.out}" if saved.arrays and saved.writable else ""
        run_on_root(comm, lambda: print(f"mpiopt: stopped by {stop.reason}{kept}", file=sys.stderr, flush=True))
        return stop.exit_code
    found = replace(found, names=data.names)
    chosen = chosen_point(found, asked.folds.choose)
    tested = _tested(data, objective, found.points[chosen], comm)
    if FilePath(job.out).suffix == RESULT:
        drawn = diagnostics_of_path(data, objective, found, found.points[chosen], comm)
        write_path_result(job, data, objective, found, chosen, tested, drawn, comm, began)
    else:
        run_on_root(comm, lambda: write_csv(job.out, as_csv(found)))
    if asked.folds.oof and found.cross_validation is not None:
        write_out_of_fold(asked.folds.oof, job, data, objective, found, comm)
    saved.remove()
    summary = (
        summary_of_path(data, objective, model_at(job.model, found.points[chosen]), found.points[chosen], comm)
        if asked.answers.summary
        else None
    )
    run_on_root(comm, lambda: write_answers(asked.answers, job.out, summary))
    if not job.quiet:
        said = [
            *told(found, chosen, tested, job.data.scale != "none"),
            *([] if summary is None else [summary.text()]),
        ]
        written = ", ".join([job.out, *asked.answers.files])
        print_on_root(comm, "\n".join([*said, f"written: {written}"]))
    return CERTIFIED if found.certified else NOT_CERTIFIED


class Lines:
    """Prints a line for each point of the path over all rows, a line for each fold, and saves the points."""

    def __init__(self, saved: SavedPoints, quiet: bool, comm: Comm, stop: StopSignal) -> None:
        self.saved, self.quiet, self.comm, self.shown, self.stop = saved, quiet, comm, 0, stop
        self.channel = Channel(comm, 0)

    def known(self, fold: int, follower: Follower) -> Progress:
        """Return what was saved."""
        progress = self.saved.known(fold, follower)
        if progress.found and not self.quiet and fold == ALL_ROWS:
            print_on_root(self.comm, f"{self.saved.place}: goes on after {len(progress.found)} points")
        return progress

    def of(self, fold: int, strengths: NDArray[np.float64]) -> PathLines:
        """Return what prints and saves one path."""
        return PathLines(self, fold, strengths)


class PathLines(NamedTuple):
    """Prints and saves the points of one path."""

    lines: Lines
    fold: int
    strengths: NDArray[np.float64]

    def note(self, found: list[Found]) -> None:
        """Print one more point of the path over all rows, or that a fold is done."""
        lines = self.lines
        if lines.quiet:
            return
        if self.fold == ALL_ROWS:
            lines.shown += 1
            print_on_root(lines.comm, (_head() + "\n" if lines.shown == 1 else "") + _line(found[-1].point))
        elif len(found) == len(self.strengths):
            epochs = sum(one.point.epochs for one in found)
            print_on_root(lines.comm, f"fold {self.fold}: {len(found)} points, {epochs:.1f} epochs")

    def save(self, progress: Progress) -> None:
        """Save how far the path has come; `StoppedPath` if a signal ends it there."""
        last = bool(self.stop.agreed(self.lines.channel))
        self.lines.saved.save(self.fold, progress, self.strengths, last)
        if last:
            raise StoppedPath

    @property
    def stop(self) -> StopSignal:
        """The signals that end the path."""
        return self.lines.stop


def own_flags() -> dict[str, type]:
    """Return the flags that a job does not have, with what they belong to."""
    every = (PathOptions, FoldOptions, AnswerOptions)
    return {field.name.replace("_", "-"): options for options in every for field in fields(options)}


def _asked(settings: Settings, own: dict[str, type]) -> Grids:
    """Return the flags of the command in their types."""
    given: dict[type, Settings] = {PathOptions: [], FoldOptions: [], AnswerOptions: []}
    for name, text in settings:
        given[own[name]].append((name.replace("-", "_"), text))
        if name in NUMBERS:
            whole = name in ("points", "folds", "repeats")
            try:
                (int if whole else float)(text)
            except ValueError:
                raise ValueError(f"--{name} must be a {'whole ' if whole else ''}number, not {text!r}") from None
    options, folds, answers = (typed(kind, chosen) for kind, chosen in given.items())
    return Grids(PathOptions(**options), FoldOptions(**folds), AnswerOptions(**answers))


class Read(NamedTuple):
    """The files of a command line: data and job file."""

    data: list[str]
    source: str  # name of the job file; "" without one
    text: str  # of the job file


def _read(positional: Sequence[str]) -> Read:
    """Return the files of a command line; a data file, a job file or both."""
    files = [word for word in positional if word.endswith(".toml")]
    data = [word for word in positional if not word.endswith(".toml")]
    if len(files) > 1 or (len(data) > 1 and not are_parts(data)):
        raise ValueError(f"path takes one data file and at most one job file, not {' '.join(positional)}")
    return Read(data, "".join(files), job_text(files[0]) if files else "")


def _selected(read: Read, own: dict[str, type]) -> Settings:
    """Return the keys of the table of the job file as flags."""
    found = []
    for key, value in job_file.table_of(read.text, SELECTION, read.source).items():
        name = key.replace("_", "-")
        if name not in own:
            known = [flag.replace("-", "_") for flag in own]
            raise ValueError(
                f"{read.source}: unknown key {f'{SELECTION}.{key}'!r}{nearest(key, known)}; "
                f"the keys of [{SELECTION}] are {', '.join(sorted(known))}"
            )
        found.append((name, str(value)))
    return found


def _job(read: Read, settings: Settings, asked: Grids) -> Job:
    """Return the job of a command line: a data file, a job file or both, and flags."""
    folds, answers = asked.folds, asked.answers
    paths = [("path", joined(read.data))] if read.data else []
    source = read.source or "the job file"
    job = job_file.read(read.text, [*paths, *settings], source, own=SELECTION)
    refuse_l1_beside_matrix(job.model, asked.options.l1_ratio)
    if not job.path:
        raise ValueError("path needs a data file: mpiopt path DATA [job.toml] [flags]")
    named = job.out if job_file.table_of(read.text, SELECTION, source) else dict(settings).get("out", "")
    out = named or f"{stem(job.path)}-path{RESULT if answers.page else '.csv'}"  # a job of `train` has its own out
    if FilePath(out).suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: a path is written as .csv or .h5")
    if answers.page and FilePath(out).suffix != RESULT:
        raise ValueError(f"--page shows a result file, not a table: --out {FilePath(out).with_suffix(RESULT)}")
    sources = [job.path, job.data.test, folds.groups, folds.time]
    outputs = [out, *filter(None, (folds.oof, *answers.files))]
    if len(set(outputs)) < len(outputs):
        raise ValueError(f"two outputs have one name: {', '.join(outputs)}")
    for output in outputs:
        refuse_onto(output, *sources)
    job, model = folds.without_groups(job), job.model
    if job.data.columns.exposure and model.loss.name == "auto":
        model = replace(model, loss=PluginSpec("poisson"))
    check_score(folds.score, target_of(model))
    return replace(job, out=out, model=model)


def _identity(job: Job, asked: Grids, data: Dataset, labels: Labels | None) -> str:
    """Return what a path must share with the one that it goes on from."""
    folds = asked.folds.identity(None if labels is None else labels.tolist())
    files = [data.checksum, ridge_matrix.checksum(job.model)]
    return json.dumps([job.identity(), job.stop.tol, repr(asked.options), folds, *files])


def _tested(data: Dataset, objective: Objective, point: PathPoint, comm: Comm) -> dict[str, float]:
    """Return the metrics of a point on the test rows, none without test rows; collective."""
    if data.test is None:
        return {}
    from mpiopt.inference.units import ColumnUnits

    units = ColumnUnits.of_dataset(data)
    z = replace(objective, shard=data.test).predict(units.to_training(point.model, objective.width))
    return metrics(data.target, z, data.test.label, data.test.weight, comm, objective.loss)


def _head() -> str:
    return f"{'strength':>12} {'nonzeros':>9} {'objective':>16} {'certificate':>12} {'epochs':>8}"


def _line(point: PathPoint) -> str:
    kept = f"{point.certificate:.1e}" + ("" if point.certified else " NOT certified")
    return f"{point.strength:12.4e} {point.nonzeros:9d} {point.objective:16.10g} {kept:>12} {point.epochs:8.1f}"
