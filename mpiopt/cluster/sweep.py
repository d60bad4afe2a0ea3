"""A grid of jobs: the [sweep] of a job file, its members, and what is there of them.

The table of a sweep: a line for each member, on the screen and as CSV.

The command `sweep`: one job file, a grid of values for some of its keys, a result for each member of the grid.

    path = "a9a"
    out = "runs/a9a"                  # a folder; default: runs/ and the name of the job file

    [sweep]                           # every key of a job, each with a list; [[sweep]] twice: both grids
    l2 = [1e-2, 1e-3, 1e-4]
    compress = ["none", "quantised[levels=7]"]
    seed = [0, 1]

A member whose result is there and certified is not computed again, one that was cut off goes on from its checkpoint.
So the command may be given again at any time, on all members in turn or, with --task, on one.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import text_from_root
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job import Job
from mpiopt.core.history import duration
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.inspect import columns
from mpiopt.results.result_file import Result, read_result
from mpiopt.results.summary import size

USAGE = "sweep JOB.toml [--task I | --count | --collect] [flags of train]"
OURS = {"task": True, "count": False, "collect": False}
LONGEST = 150  # characters of a file's name


@dataclass(frozen=True)
class Member:
    """One point of the grid."""

    chosen: dict[str, str]  # the swept keys and their values, as text
    job: Job


@dataclass(frozen=True)
class Sweep:
    """All points, in the order of the job file: the last key varies fastest."""

    folder: Path
    members: tuple[Member, ...]


def finished(job: Job) -> Result | None:
    """Give the result of a job if it is there and certified.

    Raises
    ------
    ValueError
        If there is a result of another job in its place.
    """
    result = result_of(job)
    if result is None or result.provenance.get("exit_status") != 0:
        return None
    return result if float(result.provenance["certificate"]) <= job.stop.tol else None


def result_of(job: Job) -> Result | None:
    """Give the result that is there, certified or not; ValueError if it is another job's."""
    if not Path(job.out).exists():
        return None
    result = read_result(job.out)
    theirs = job_file.read(result.job)
    if (theirs.identity(), theirs.path) != (job.identity(), job.path):
        raise ValueError(f"{job.out} is the result of another job; remove it, or give the sweep another out")
    return result


def read(words: Sequence[str]) -> tuple[str, str, list[tuple[str, str]]]:
    """Give the name and the text of the job file, and the settings from flags."""
    positional, settings = parse(words, {**job_file.flags(), **OURS})
    files = [word for word in positional if word.endswith(".toml")]
    if len(files) != 1 or len(positional) > 2:
        raise ValueError(USAGE)
    from mpiopt.training.job_args import job_text

    paths = [("path", word) for word in positional if word != files[0]]
    flags = job_file.expand_set((key, text) for key, text in settings if key not in OURS)
    return files[0], job_text(files[0]), [*paths, *flags]


def found(words: Sequence[str]) -> Sweep | None:
    """Give the sweep that words for `train` or `sweep` name; None where their job file has no [sweep]."""
    positional, _ = parse(words, {**job_file.flags(), **OURS})
    if not any(word.endswith(".toml") for word in positional):
        return None
    name, text, settings = read(words)
    return found_in(name, text, settings) if "sweep" in parsed(name, text) else None


def parsed(name: str, text: str) -> dict[str, Any]:
    """Read TOML; ValueError, with the file's name, if it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: {error}") from None


def found_in(name: str, text: str, settings: Sequence[tuple[str, str]]) -> Sweep:
    """Give the sweep of a job file.

    Raises
    ------
    ValueError
        If there is no [sweep], a key is unknown, or a value is out of its range; with the file's name.
    """
    tree = parsed(name, text)
    try:
        grids = tree.pop("sweep", None)
        if not grids:
            raise ValueError("there is no [sweep] table; mpiopt train runs a single job")
        base = [*job_file.flat_items(tree), *settings]
        folder = Path(str(dict(base).get("out") or f"runs/{Path(name).stem}"))
        points = [point for grid in (grids if isinstance(grids, list) else [grids]) for point in product(grid)]
        members = [member(folder, base, point) for point in points]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return Sweep(folder, tuple({m.job.out: m for m in members}.values()))


def product(grid: Mapping[str, Any]) -> Iterable[dict[str, object]]:
    """Give all points of one grid."""
    keys, lists = zip(*job_file.flat_items(grid), strict=True) if grid else ((), ())
    for key, values in zip(keys, lists, strict=True):
        if not isinstance(values, list) or not values:
            raise ValueError(f"sweep.{key} is a list of values, not {values!r}")
        if key in ("out", "resume"):
            raise ValueError(f"sweep.{key}: each member has its own already")
    return [dict(zip(keys, point, strict=True)) for point in itertools.product(*lists)]


def member(folder: Path, base: Sequence[tuple[str, object]], point: Mapping[str, object]) -> Member:
    """Give one member; its result is named by its values, so that a grid may grow."""
    job = job_file.read("", [*base, *point.items()])
    if not job.path:
        raise ValueError('there is no data file: path = "…"')
    chosen = {key.rpartition(".")[2]: str(value) for key, value in point.items()}
    stem = re.sub(r"[^A-Za-z0-9=.+,-]+", "-", ",".join(f"{k}={v}" for k, v in chosen.items())).strip("-")
    if len(stem) > LONGEST:
        raise ValueError(f"the values are too long for the name of a file: {stem}")
    return Member(chosen, replace(job, out=str(folder / f"{stem}.h5"), resume="auto"))


FOUND = ("state", "objective", "certificate", "epochs", "rounds", "seconds", "bytes")
STATES = {0: "certified", 3: "budget spent", 75: "cut off", 130: "stopped", 143: "stopped"}


def collect(whole: Sweep) -> int:
    """Print the table and write it; give 0 where all members are certified, else 3."""
    rows = [row(member) for member in whole.members]
    keys = list(dict.fromkeys(key for member in whole.members for key in member.chosen))
    names = [*keys, *FOUND]
    print(columns(names, [[shown(name, line.get(name, "")) for name in names] for line in rows]))
    path = whole.folder / "sweep.csv"
    whole.folder.mkdir(parents=True, exist_ok=True)
    write(path, names, rows)
    done = sum(line["state"] == "certified" for line in rows)
    print(f"{done} of {len(rows)} certified; written: {path}")
    return 0 if done == len(rows) else 3


def row(member: Member) -> dict[str, object]:
    """Give what is known of one member."""
    line: dict[str, object] = {**member.chosen, "state": "not there"}
    try:
        result = result_of(member.job)
    except ValueError as error:
        return line | {"state": f"unreadable: {error}"}
    if result is None:
        return line
    told, last = result.provenance, result.history[-1]
    certified = float(told["certificate"]) <= member.job.stop.tol
    state = (
        "certified" if certified and told["exit_status"] == 0 else STATES.get(told["exit_status"], "not certified")
    )
    line |= {"state": "not to this tol" if told["exit_status"] == 0 and not certified else state}
    line |= {"objective": float(last["objective"]), "certificate": float(last["certificate"])}
    line |= {"epochs": float(last["epoch"]), "rounds": int(last["round"])}
    return line | {"seconds": float(last["seconds"]), "bytes": int(last["bytes_sent"])}


def shown(name: str, value: object) -> str:
    """Give a value for the screen."""
    if value == "":
        return ""
    if name == "seconds" and isinstance(value, float):
        return duration(value)
    if name == "bytes" and isinstance(value, int):
        return size(value)
    forms = {"objective": ".10g", "certificate": ".1e", "epochs": ".4g"}
    return format(value, forms[name]) if name in forms else str(value)


def write(path: Path, names: list[str], rows: list[dict[str, object]]) -> None:
    """Put the CSV file in place."""
    partial = Path(f"{path}.partial")
    with partial.open("w", newline="") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    os.replace(partial, path)


def sweep(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run all members in turn, or one; count them; or make the table of their results."""
    _, settings = parse(words, {**job_file.flags(), **OURS})
    asked = dict(settings)
    text = text_from_root(comm, lambda: json.dumps(read(words)))
    whole = found_in(*json.loads(text))
    if "count" in asked:
        print(len(whole.members))
        return 0
    if "collect" in asked:
        return collect(whole)
    return run(picked(whole, asked.get("task")), comm, stop)


def picked(whole: Sweep, task: str | None) -> tuple[Member, ...]:
    """Give the members to run: one, or all."""
    if task is None:
        return whole.members
    if not task.isdigit() or int(task) >= len(whole.members):
        raise ValueError(f"--task is a number from 0 to {len(whole.members) - 1}, not {task!r}")
    return (whole.members[int(task)],)


def run(members: Sequence[Member], comm: Comm, stop: StopSignal) -> int:
    """Train what is not there yet; a member that is refused does not stop the others. Give the gravest exit code."""
    from mpiopt.training.train import train_job

    codes = [0]
    for member in members:
        told = " ".join(f"{key}={value}" for key, value in member.chosen.items())
        try:
            there = known(member.job, comm)
            if comm.rank == 0 and not member.job.quiet:
                print(f"{told}: {'is there' if there else member.job.out}", flush=True)
            codes.append(0 if there else train_job(member.job, comm, stop))
        except (ValueError, OSError) as error:
            if len(members) == 1:
                raise
            if comm.rank == 0:
                print(f"{told}: refused: {error}", flush=True)
            codes.append(2)
        if stop.exit_code:
            return stop.exit_code
    return next(code for code in (2, 3, 0) if code in codes)


def known(job: Job, comm: Comm) -> bool:
    """Say, on all ranks, whether a job is done; collective."""
    return bool(text_from_root(comm, lambda: "yes" if finished(job) else ""))
