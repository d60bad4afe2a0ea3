"""A grid of jobs: the [sweep] of a job file, its members, and what is there of them."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpiopt import jobfile
from mpiopt.flags import parse
from mpiopt.hdf5.results import Result, read_result
from mpiopt.job import Job

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
    theirs = jobfile.read(result.job)
    if (theirs.identity(), theirs.path) != (job.identity(), job.path):
        raise ValueError(f"{job.out} is the result of another job; remove it, or give the sweep another out")
    return result


def read(words: Sequence[str]) -> tuple[str, str, list[tuple[str, str]]]:
    """Give the name and the text of the job file, and the settings from flags."""
    positional, settings = parse(words, {**jobfile.flags(), **OURS})
    files = [word for word in positional if word.endswith(".toml")]
    if len(files) != 1 or len(positional) > 2:
        raise ValueError(USAGE)
    from mpiopt.asked import job_text

    paths = [("path", word) for word in positional if word != files[0]]
    flags = jobfile.spread((key, text) for key, text in settings if key not in OURS)
    return files[0], job_text(files[0]), [*paths, *flags]


def found(words: Sequence[str]) -> Sweep | None:
    """Give the sweep that words for `train` or `sweep` name; None where their job file has no [sweep]."""
    positional, _ = parse(words, {**jobfile.flags(), **OURS})
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
        base = [*jobfile.leaves(tree), *settings]
        folder = Path(str(dict(base).get("out") or f"runs/{Path(name).stem}"))
        points = [point for grid in (grids if isinstance(grids, list) else [grids]) for point in product(grid)]
        members = [member(folder, base, point) for point in points]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return Sweep(folder, tuple({m.job.out: m for m in members}.values()))


def product(grid: Mapping[str, Any]) -> Iterable[dict[str, object]]:
    """Give all points of one grid."""
    keys, lists = zip(*jobfile.leaves(grid), strict=True) if grid else ((), ())
    for key, values in zip(keys, lists, strict=True):
        if not isinstance(values, list) or not values:
            raise ValueError(f"sweep.{key} is a list of values, not {values!r}")
        if key in ("out", "resume"):
            raise ValueError(f"sweep.{key}: each member has its own already")
    return [dict(zip(keys, point, strict=True)) for point in itertools.product(*lists)]


def member(folder: Path, base: Sequence[tuple[str, object]], point: Mapping[str, object]) -> Member:
    """Give one member; its result is named by its values, so that a grid may grow."""
    job = jobfile.read("", [*base, *point.items()])
    if not job.path:
        raise ValueError('there is no data file: path = "…"')
    chosen = {key.rpartition(".")[2]: str(value) for key, value in point.items()}
    stem = re.sub(r"[^A-Za-z0-9=.+,-]+", "-", ",".join(f"{k}={v}" for k, v in chosen.items())).strip("-")
    if len(stem) > LONGEST:
        raise ValueError(f"the values are too long for the name of a file: {stem}")
    return Member(chosen, replace(job, out=str(folder / f"{stem}.h5"), resume="auto"))
