"""`python -m benchmarks.criteo --install --out docs/benchmarks/criteo.md`: the logistic model of clicks, made up.

Options: [--rows N] [--columns D,…] [--ranks P] [--limit SECONDS] [--algorithms NAME,…] [--libraries NAME,…]

`generate:criteo` makes rows of 13 numbers and 26 hashed categories, with as many levels as in the public Criteo set.
All solve the same problem: logistic loss, l2 = 1/N, no intercept, rows as they are. F* is the least F that any found.
Ours are runs of `mpiopt train` on two ranks from an HDF5 file; `with loading` is the whole command until that moment,
with start, reading and compiling. The others are fits from arrays in memory, in one thread. Microseconds are those of
a row: seconds of the wall clock for ours, of the processor for the others.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.launching import mpirun, output_of
from benchmarks.model_classes import ModelProblem, posed
from benchmarks.peer_solvers import solvers
from benchmarks.peers import Worker, install, interpreter
from mpiopt.comm.threads import single
from mpiopt.data.formats.base import open_source
from mpiopt.data.shard import CsrRows
from mpiopt.results.run_record import with_history

ROWS, COLUMNS = 4_200_000, "1048576,100000"
LEVELS = (1e-4, 1e-6)
GOAL = 1.5  # microseconds a row to the first level
TOL = 1e-7  # of ours
PEERS = ("scikit-learn", "liblinear", "snapml")
PEER_SOLVERS = ("scikit-learn lbfgs", "liblinear -s 7", "liblinear -s 0", "snapml")
PUBLISHED = """
Published rates for one more or less accurate solution on the public set, in microseconds a row, on other machines:
Snap ML on 16 V100 0.022, TensorFlow on 89 machines 1.0, Spark on 512 cores 1.9, one pass of Vowpal Wabbit 5.9.
"""


class Course(NamedTuple):
    """One way to the optimum: seconds and F at its evaluations or fits, the whole command's seconds beside them."""

    name: str
    seconds: list[float]
    values: list[float]
    certified: float  # seconds to a certified 1e-6; inf without
    before: float  # seconds before the clock starts: starting, reading, compiling

    def until(self, wanted: float) -> float:
        """Return the seconds until F was at most `wanted`; inf if it never was."""
        return next((s for s, value in zip(self.seconds, self.values, strict=True) if value <= wanted), np.inf)


def ours(file: Path, algorithm: str, ranks: int, limit: float) -> Course:
    """Train on a file."""
    out = file.with_name("run.h5")
    words = ["--loss", "logistic", "--tol", str(TOL), "--max-seconds", str(limit), "--quiet", "--overwrite"]
    began = time.perf_counter()
    mpirun(
        ranks, "-m", "mpiopt", "train", str(file), "--algorithm", algorithm, *words, "--out", str(out), codes=(0, 3)
    )
    whole = time.perf_counter() - began
    rows = with_history(out).history
    seconds = [float(s) for s in rows["seconds"]]
    sure = [s for s, gap in zip(seconds, rows["certificate"], strict=True) if gap <= LEVELS[1]]
    values = [float(v) for v in rows["objective"]]
    return Course(
        f"mpiopt {algorithm}, {ranks} ranks", seconds, values, min(sure, default=np.inf), whole - seconds[-1]
    )


def theirs(
    problem: ModelProblem, libraries: list[str], folder: Path, wanted: float, limit: float
) -> Iterator[Course]:
    """Climb from coarse to fine settings until F is at most `wanted`, or a fit takes longer than the limit."""
    path = folder / "problem.npz"
    problem.save(path)
    for solver in solvers(problem, libraries):
        if solver.name not in PEER_SOLVERS:
            continue
        worker, times, values = Worker(solver.library, limit), [], []
        for setting in solver.ladder:
            seconds, value, note = worker.fit(path, solver, setting)
            times.append(seconds)
            values.append(value)
            if note or value <= wanted or sum(times) > limit:
                break
        worker.close()
        yield Course(solver.name, times, values, np.inf, np.inf)


def in_memory(recipe: str) -> ModelProblem:
    """Make the rows for the other libraries."""
    from scipy import sparse

    pieces = list(open_source(recipe, "auto", None, single()).pieces())
    parts = [piece.rows for piece in pieces if isinstance(piece.rows, CsrRows)]
    ends = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part.indptr) for part in parts]))])
    indices, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "values"))
    x = sparse.csr_matrix((values, indices, ends), (len(ends) - 1, parts[0].width))
    return posed(x, np.concatenate([piece.label for piece in pieces]), "logistic", "l2", False)


def table(courses: list[Course], rows: int, start: float) -> Iterator[str]:
    """Yield the lines of a table."""
    best = min(value for course in courses for value in course.values)
    yield "| solver | 1e-4, µs a row | with loading | 1e-6 | certified 1e-6 | with loading | evaluations or fits |"
    yield "|---|" + "---|" * 6
    for course in courses:
        coarse, fine = (course.until(best + level * (start - best)) for level in LEVELS)
        times = (coarse, coarse + course.before, fine, course.certified, course.certified + course.before)
        words = " | ".join(f"{1e6 * s / rows:.3g}" if np.isfinite(s) else "–" for s in times)
        yield f"| {course.name} | {words} | {len(course.values)} |"


def main() -> None:
    """Run and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.criteo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=float, default=ROWS)
    parser.add_argument("--columns", default=COLUMNS)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--limit", type=float, default=40.0, help="seconds for each solver")
    parser.add_argument("--algorithms", default="saga,auto")
    parser.add_argument("--libraries", default=",".join(PEERS))
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, libraries = int(options.rows), []
    for name in filter(None, options.libraries.split(",")):
        if options.install and not interpreter(name).exists():
            install(name)
        if interpreter(name).exists():
            libraries.append(name)
        else:
            print(f"{name} is not installed: left out (--install)", file=sys.stderr)
    lines = ["# A made-up replay of Criteo", "", str(__doc__).strip(), "", PUBLISHED.strip(), ""]
    about = f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores"
    lines += [f"{about}, load {os.getloadavg()[0]:.1f} at the start.", ""]
    for columns in map(int, options.columns.split(",")):
        recipe = f"generate:criteo,n={rows},d={columns}"
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "clicks.h5"
            output_of([sys.executable, "-m", "mpiopt", "convert", recipe, str(file)])
            courses = [ours(file, name, options.ranks, options.limit) for name in options.algorithms.split(",")]
            file.unlink()
            if libraries:
                least = min(value for course in courses for value in course.values)
                wanted = least + LEVELS[1] * (np.log(2.0) - least)
                courses += theirs(in_memory(recipe), libraries, Path(place), wanted, options.limit)
        lines += [f"## {rows:,} rows, {columns:,} columns", "", *table(courses, rows, float(np.log(2.0))), ""]
    lines.append(f"Goal: at most {GOAL:g} µs a row to 1e-4 on two cores.")
    text = "\n".join([*lines, ""])
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
