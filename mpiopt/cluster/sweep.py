"""The command `sweep`: one job file, a grid of values for some of its keys, a result for each member of the grid.

    path = "a9a"
    out = "runs/a9a"                  # a folder; default: runs/ and the name of the job file

    [sweep]                           # any key of a job, each with a list; [[sweep]] twice: both grids
    l2 = [1e-2, 1e-3, 1e-4]
    compress = ["none", "quantised[levels=7]"]
    seed = [0, 1]
    folds = 5                         # each member has a cross-validated score; also repeats, groups, time, score

A member whose certified result exists is not computed again; an interrupted one continues from its checkpoint. So the
command may be repeated at any time, for all members in turn or, with --task, for one.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mpiopt.cluster.sweep_results import (
    is_finished,
    is_scored,
    newer_data,
    result_of,
    stored_scores,
    within_tolerance,
)
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root, run_on_root, text_from_root
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import Settings, parse, typed
from mpiopt.core.config.folds import DEVIANCE, FoldOptions, check_score
from mpiopt.core.config.job import Job
from mpiopt.core.durations import duration
from mpiopt.core.files import refuse_existing, write_whole
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.fold_scores import FoldScores
from mpiopt.results.inspect import columns
from mpiopt.results.summary import size
from mpiopt.training.job_args import job_text

logger = logging.getLogger(__name__)

USAGE = "sweep JOB.toml [--task I | --count | --collect] [flags of train]"
FLAGS = {"task": True, "count": False, "collect": False}  # whether a value follows
FOLDS = ("folds", "repeats", "groups", "time", "score")  # keys of [sweep] that are not swept
MAX_NAME = 150  # characters of a result's file name; file systems allow 255 bytes with suffixes


@dataclass(frozen=True)
class Member:
    """One point of the grid."""

    chosen: dict[str, str]  # the swept keys and their values, as text
    job: Job

    @property
    def description(self) -> str:
        """The chosen values in words."""
        return " ".join(f"{key}={value}" for key, value in self.chosen.items())


@dataclass(frozen=True)
class Sweep:
    """All members, in the order of the job file: the last key varies fastest."""

    folder: Path
    members: tuple[Member, ...]
    folds: FoldOptions = field(default_factory=FoldOptions)

    def selected(self, task: str | None) -> tuple[Member, ...]:
        """Return the member number `task`, or all members."""
        if task is None:
            return self.members
        if not task.isdigit() or int(task) >= len(self.members):
            raise ValueError(f"--task must be a number from 0 to {len(self.members) - 1}, not {task!r}")
        return (self.members[int(task)],)


def sweep(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run all members in turn, or one; count them; or make the table of their results."""
    _, settings = parse(words, {**job_file.flags(), **FLAGS})
    given = dict(settings)
    text = text_from_root(comm, lambda: json.dumps(read(words)))
    grid = parse_sweep(*json.loads(text))
    if "count" in given:
        print_on_root(comm, str(len(grid.members)))
        return 0
    if "collect" in given:
        return collect(grid, comm)
    return run(grid.selected(given.get("task")), grid.folds, comm, stop)


# ---- reading the grid ----


def read(words: Sequence[str]) -> tuple[str, str, Settings]:
    """Return the name of the job file, its text, and the settings that flags give."""
    positional, settings = parse(words, {**job_file.flags(), **FLAGS})
    files = [word for word in positional if word.endswith(".toml")]
    if len(files) != 1 or len(positional) > 2:
        raise ValueError(f"sweep needs one job file, and takes at most one data file: mpiopt {USAGE}")
    paths = [("path", word) for word in positional if word != files[0]]
    flags = job_file.expand_set((key, text) for key, text in settings if key not in FLAGS)
    return files[0], job_text(files[0]), [*paths, *flags]


def sweep_of(words: Sequence[str]) -> Sweep | None:
    """Return the sweep named by the words of `train` or `sweep`; None if their job file has no [sweep]."""
    positional, _ = parse(words, {**job_file.flags(), **FLAGS})
    if not any(word.endswith(".toml") for word in positional):
        return None
    name, text, settings = read(words)
    return parse_sweep(name, text, settings) if "sweep" in _parse_toml(name, text) else None


def _parse_toml(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: {error}") from None


def parse_sweep(name: str, text: str, settings: Settings) -> Sweep:
    """Return the sweep of a job file; `settings` of flags take precedence over its keys.

    Raises
    ------
    ValueError
        With the file's name, if there is no [sweep], a key is unknown, or a value is out of its range.
    """
    tree = _parse_toml(name, text)
    try:
        grids = tree.pop("sweep", None)
        if not grids:
            raise ValueError("there is no [sweep] table; mpiopt train runs a single job")
        base = [*job_file.flat_items(tree), *settings]
        folder = Path(str(dict(base).get("out") or f"runs/{Path(name).stem}"))
        every = [dict(grid) for grid in (grids if isinstance(grids, list) else [grids])]
        folds = _folds(every)
        points = [point for grid in every for point in _product(grid)]
        members = [_member(folder, base, point, folds) for point in points]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return Sweep(folder, tuple({m.job.out: m for m in members}.values()), folds)


def _folds(grids: list[dict[str, Any]]) -> FoldOptions:
    """Take the keys of the folds out of the grids; they are of all members."""
    found: dict[str, str] = {}
    for key, text in [(key, str(grid.pop(key))) for grid in grids for key in FOLDS if key in grid]:
        if found.setdefault(key, text) != text:
            raise ValueError(
                f"{key} is {found[key]} and {text}: all grids of a sweep have one; leave out one of both"
            )
    try:
        return FoldOptions(**typed(FoldOptions, [*found.items()]))
    except ValueError as error:  # it may name flags of `path`, where these are keys
        raise ValueError(str(error).replace("--", "")) from None


def _product(grid: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return all points of one grid."""
    keys, lists = zip(*job_file.flat_items(grid), strict=True) if grid else ((), ())
    for key, values in zip(keys, lists, strict=True):
        if not isinstance(values, list) or not values:
            raise ValueError(f"sweep.{key} must be a list of values, not {values!r}")
        if key == "out":
            raise ValueError("sweep.out cannot be swept: every run gets its own output file")
        if key == "resume":
            raise ValueError("sweep.resume cannot be swept: every run continues from its own checkpoint")
    return [dict(zip(keys, point, strict=True)) for point in itertools.product(*lists)]


def _member(
    folder: Path, base: Sequence[tuple[str, object]], point: Mapping[str, object], folds: FoldOptions
) -> Member:
    """Return one member; its values name its result, so that the grid may grow later."""
    job = folds.without_groups(job_file.read("", [*base, *point.items()]))
    if not job.path:
        raise ValueError('there is no data file; add path = "…"')
    chosen = {key.rpartition(".")[2]: str(value) for key, value in point.items()}
    stem = re.sub(r"[^A-Za-z0-9=.+,-]+", "-", ",".join(f"{k}={v}" for k, v in chosen.items())).strip("-")
    if len(stem) > MAX_NAME:
        raise ValueError(f"the values are too long for the name of a file ({MAX_NAME} characters): {stem}")
    return Member(chosen, replace(job, out=str(folder / f"{stem}.h5"), resume="auto"))


# ---- running members ----


def run(members: Sequence[Member], folds: FoldOptions, comm: Comm, stop: StopSignal) -> int:
    """Train the members that have no certified result, and score them; return the most serious exit code.

    A member whose job is refused does not stop the others.
    """
    # these load numba, for which `status` and `submit` should not wait
    from mpiopt.training.fold_scores import score_folds
    from mpiopt.training.problem import target_of
    from mpiopt.training.train import train_job

    if folds.folds:
        for target in sorted({target_of(member.job.model) for member in members}):
            check_score(folds.score, target)
    codes = [0]
    for member in members:
        try:
            done = is_finished(member.job, comm)
            if comm.rank == 0 and not member.job.quiet:
                logger.info("%s: %s", member.description, "already certified" if done else member.job.out)
            unknown = member.job.model.loss.name == "auto" and folds.score != DEVIANCE
            if folds.folds and unknown and not done:  # a score that the loss has not is refused before training
                codes.append(score_folds(member.job, folds, comm, stop))
            codes.append(0 if done or stop.exit_code else train_job(member.job, comm, stop))
            if folds.folds and not stop.exit_code and not is_scored(member.job, folds, comm):
                codes.append(score_folds(member.job, folds, comm, stop))
        except (ValueError, OSError) as error:
            if len(members) == 1:
                raise
            if comm.rank == 0:
                logger.error("%s: refused: %s", member.description, error)
            codes.append(2)
        if stop.exit_code:
            return stop.exit_code
    return next(code for code in (2, 3, 0) if code in codes)


# ---- the table ----

FOUND = ("state", "objective", "certificate", "epochs", "rounds", "seconds", "bytes")
SCORE = "test "  # begins the name of a column with a score of the test rows
MEAN, ERROR, FOLD = "score", "score error", "fold "  # columns of the folds' scores; FOLD begins that of each fold
SCORES_SHOWN = 2  # of the test rows, on the screen; the CSV has all
FORMATS = {
    "objective": ".10g",
    "certificate": ".1e",
    "epochs": ".4g",
    MEAN: ".6g",
    ERROR: ".2g",
}  # on the screen; the CSV has all digits


def collect(grid: Sweep, comm: Comm) -> int:
    """Print the table of all members and write it as CSV; return 0 if all are certified, else 3."""
    every = [stored_scores(member.job, grid.folds) for member in grid.members]
    rows = [table_row(member, scores, grid.folds) for member, scores in zip(grid.members, every, strict=True)]
    folds = [MEAN, ERROR] if grid.folds.folds else []
    names = [*dict.fromkeys(key for member in grid.members for key in member.chosen), *FOUND, *folds]
    scores = sorted({key for row in rows for key in row if key.startswith(SCORE)}, key=str.lower)
    heads = [*names, *scores[:SCORES_SHOWN]]
    print_on_root(comm, columns(heads, [[_cell(name, row.get(name, "")) for name in heads] for row in rows]))
    path = grid.folder / "sweep.csv"
    each = [f"{FOLD}{k}" for k in range(max((len(one.scores) for one in every if one is not None), default=0))]
    overwrite = any(member.job.overwrite for member in grid.members)
    run_on_root(comm, lambda: _write_csv(path, [*names, *each, *scores], rows, overwrite))
    best = min(((one.loss, k) for k, one in enumerate(every) if one is not None), default=None)
    if best is not None:
        print_on_root(comm, _best_line(grid.members[best[1]], every[best[1]]))
    done = sum(row["state"] == "certified" for row in rows)
    print_on_root(comm, f"{done} of {len(rows)} certified; written: {path}")
    return 0 if done == len(rows) else 3


def _best_line(member: Member, scores: FoldScores | None) -> str:
    """Return in words which member has the best score."""
    if scores is None:
        return ""
    what = f"{scores.score} {scores.mean:.6g}, standard error {scores.error:.2g}, {len(scores.scores)} folds"
    return f"best: {member.description or member.job.out} ({what})"


def table_row(member: Member, scores: FoldScores | None, folds: FoldOptions) -> dict[str, object]:
    """Return the values of a member, what its result says, and the scores of its folds, by column."""
    row: dict[str, object] = {**member.chosen, "state": "no result"}
    try:
        result = result_of(member.job)
    except ValueError as error:
        return row | {"state": f"unreadable: {error}"}
    if result is None:
        return row
    code, last = result.provenance["exit_status"], result.history[-1]
    certified = code == 0 and within_tolerance(result, member.job)
    state = result.ending.state if certified or code != 0 else "not to this tol"
    if certified and folds.folds and not (scores is not None and scores.certified):
        state = "no scores of the folds" if scores is None else "folds not certified"
    if certified and newer_data(member.job):
        state = "the data are newer"  # another run of the sweep looks into them
    if scores is not None:
        row |= {MEAN: scores.mean, ERROR: scores.error}
        row |= {f"{FOLD}{k}": score for k, score in enumerate(scores.scores)}
    return row | {
        "state": state,
        "objective": float(last["objective"]),
        "certificate": float(last["certificate"]),
        "epochs": float(last["epoch"]),
        "rounds": int(last["round"]),
        "seconds": float(last["seconds"]),
        "bytes": int(last["bytes_sent"]),
        **{f"{SCORE}{name}": value for name, value in result.test.items()},
    }


def _cell(name: str, value: object) -> str:
    """Return a value for the screen."""
    if value == "":
        return ""
    if name == "seconds" and isinstance(value, float):
        return duration(value)
    if name == "bytes" and isinstance(value, int):
        return size(value)
    if name.startswith(SCORE) and isinstance(value, float):
        return f"{value:.4g}"
    return format(value, FORMATS[name]) if name in FORMATS else str(value)


def _write_csv(path: Path, names: list[str], rows: list[dict[str, object]], overwrite: bool) -> None:
    """Write the table, again after more members are done; ValueError if there is a file that is no such table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not set(FOUND) <= {*path.read_text("utf-8", "replace").partition("\n")[0].split(",")}:
        refuse_existing(path, overwrite)
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, text.getvalue().encode())
