"""`python -m benchmarks.peers --install --out docs/benchmarks/peers.md`: whole fits beside other libraries.

Options: [--sets NAME,…|tuned|judged] [--losses NAME,…] [--penalties l2,l1,both] [--libraries NAME,…]
[--numbers N] [--limit SECONDS] [--repeats N] [--install] [--out FILE.md]

Each library runs in a process of its own; one that is not installed beside mpiopt has an environment in .cache/peers,
which `--install` makes. All get the same rows from one file. A solver climbs from coarse to fine settings; for each
suboptimality (F − F*)/(F(0) − F*) its first setting that reaches it counts. F* is the least F of all fits, of which
one of ours is certified to 1e-12. Then these settings run again in turn, and the least processor seconds count, from
arrays in memory to the model, in one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import benchmarks  # noqa: F401  # first: it sets one thread
from benchmarks.auto import MORE, half, read
from benchmarks.data import gaussian, text
from benchmarks.model_classes import LOSSES, PENALTIES, ModelProblem, posed
from benchmarks.peer_solvers import FAMILIES, LIBRARIES, Solver, solvers
from benchmarks.tightness import SETS

LEVELS = (1e-3, 1e-6, 1e-9)
OURS = "mpiopt"
ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cache" / "peers"
MODULES = {"scikit-learn": "sklearn"}  # where the name of the module is another one
SMALL = 10_000  # rows below which start-up dominates
HOPELESS = 2.0  # times the least seconds to the last level: a solver that takes so long for less is not the fastest
HANGING = 5.0  # times the limit: a fit that takes longer is ended with its process


@dataclass(frozen=True)
class Fitted:
    """One fit: its setting, processor seconds and F."""

    setting: float
    seconds: float
    value: float


@dataclass
class Climb:
    """The fits of one solver on one problem."""

    solver: Solver
    fits: list[Fitted] = field(default_factory=list)
    note: str = ""

    def reached(self, wanted: float) -> float | None:
        """Return the first setting that brought F to `wanted`; None if none did."""
        return next((one.setting for one in self.fits if one.value <= wanted), None)

    def seconds(self, wanted: float) -> float:
        """Return the least seconds of that setting; inf without one."""
        setting = self.reached(wanted)
        return min((one.seconds for one in self.fits if one.setting == setting), default=np.inf)


@dataclass(frozen=True)
class Cell:
    """A problem with the seconds of each solver to each level."""

    data: str
    rows: int
    columns: int
    loss: str
    penalty: str
    intercept: bool
    seconds: dict[str, list[float]]  # by solver, for each level; inf where it was not reached
    notes: dict[str, str]

    def best(self, level: int) -> str:
        """Return the fastest peer; "" if none arrived."""
        peers = {name: s[level] for name, s in self.seconds.items() if name != OURS and np.isfinite(s[level])}
        return min(peers, key=peers.__getitem__, default="")

    def ratio(self, level: int) -> float:
        """Return our seconds over those of the fastest peer; nan where none arrived."""
        best, mine = self.best(level), self.seconds[OURS][level]
        return mine / self.seconds[best][level] if best else np.nan if np.isfinite(mine) else np.inf


class Worker:
    """A process with one library; it is started at the first request, and again where it has hung or died."""

    def __init__(self, library: str, limit: float) -> None:
        self.library, self.limit = library, limit
        self.process: subprocess.Popen[str] | None = None

    def fit(self, path: Path, solver: Solver, setting: float) -> tuple[float, float, str]:
        """Return the processor seconds, F, and an error or ""."""
        if self.process is None:
            command = [str(interpreter(self.library)), "-m", "benchmarks.peer_worker", self.library]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, text=True, cwd=ROOT, **pipes)
        self.process.stdin.write(json.dumps([str(path), solver.name, setting]) + "\n")
        self.process.stdin.flush()
        answered = select.select([self.process.stdout], [], [], HANGING * self.limit)[0]
        answer = self.process.stdout.readline() if answered else ""
        if not answer:
            self.close()
            return np.inf, np.inf, "ended" if answered else f"more than {HANGING * self.limit:g} s"
        seconds, value, note = json.loads(answer)
        return seconds, value, note

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def interpreter(library: str) -> Path:
    """Return the Python that has a library: this one, or that of its own environment."""
    own = importlib.util.find_spec(MODULES.get(library, library)) is not None
    return Path(sys.executable) if own else PLACE / library / "bin" / "python"


def install(library: str) -> None:
    """Make the environment of a library; what is installed here serves it where the versions suit."""
    place = PLACE / library
    venv.create(place, with_pip=True, symlinks=True)
    inside = next((place / "lib").glob("python*/site-packages"))
    (inside / "project.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    subprocess.run([place / "bin" / "python", "-m", "pip", "install", "-q", LIBRARIES[library]], check=False)


def problems(options: argparse.Namespace) -> Iterator[tuple[str, ModelProblem]]:
    """Pose every problem that is asked for; dense columns and real targets are standardised."""
    for name, kind, load in every_set(options.numbers):
        chosen = options.sets in ("", half(name)) or name in options.sets.split(",")
        losses = [loss for loss in LOSSES[kind] if options.losses == "" or loss in options.losses.split(",")]
        found = load() if chosen and losses else None
        if found is None:
            continue
        x, y = found
        if not hasattr(x, "indptr"):
            spread = x.std(axis=0)
            x = (x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
        if kind == "real":
            y = (y - y.mean()) / y.std()
        for loss in losses:
            for penalty in options.penalties.split(","):
                for intercept in (True, False):
                    yield name, posed(x, y, loss, penalty, intercept)


def every_set(numbers: float) -> Iterator[tuple[str, str, Any]]:
    """Yield the name, the kind of labels, and a function that returns rows and labels, of every set."""
    for kind in LOSSES:
        yield from ((name, kind, lambda name=name, kind=kind: made_up(name, kind)) for name in MADE[kind])
        for file in [*SETS[kind], *MORE.get(kind, [])]:

            def load(file: str = file, kind: str = kind) -> tuple[Any, Any] | None:
                data = read(file, kind, numbers)
                return None if data is None else (data.x, data.y)

            yield file.partition("/")[0], kind, load


MADE = {
    "binary": ["wide", "tall", "words"],
    "multiclass": ["tall"],
    "real": ["wide", "tall", "words"],
    "count": ["tall"],
}


def made_up(name: str, kind: str) -> tuple[Any, Any]:
    """Make a set: `wide` 120 × 4000, `tall` 40 000 × 50 of condition 100, `words` 5000 × 20 000 sparse."""
    random = np.random.default_rng(1)
    if name == "words":
        x = text(5000, 20_000, 7)[0]
    else:
        n, d, condition = (120, 4000, 1.0) if name == "wide" else (40_000, 50, 100.0)
        x = random.standard_normal((n, d)) if name == "wide" else gaussian(n, d, condition, 8)[0]
    w = np.where(np.arange(x.shape[1]) % max(1, x.shape[1] // 20) == 0, random.standard_normal(x.shape[1]), 0.0)
    z = x @ w
    z = z / z.std()
    if kind == "binary":
        return x, np.where(random.random(len(z)) < 1.0 / (1.0 + np.exp(-3.0 * z)), 1.0, -1.0)
    if kind == "multiclass":
        return x, np.digitize(z + 0.3 * random.standard_normal(len(z)), [-0.7, 0.0, 0.7]).astype(float)
    if kind == "count":
        return x, random.poisson(np.exp(0.5 * z)).astype(float)
    return x, z + 0.5 * random.standard_normal(len(z))


def race(name: str, problem: ModelProblem, workers: dict[str, Worker], limit: float, repeats: int) -> Cell:
    """Time all solvers on a problem, with ours first for a first F*."""
    start = problem.start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        problem.save(path)
        climbs = [Climb(solver) for solver in solvers(problem, workers)]
        least = quickest = np.inf
        for climb in climbs:
            worker = workers[climb.solver.library]
            worker.fit(path, climb.solver, climb.solver.ladder[0])  # imports; kernels are compiled
            spent = 0.0
            for setting in climb.solver.ladder:
                seconds, value, climb.note = worker.fit(path, climb.solver, setting)
                spent += seconds
                climb.fits.append(Fitted(setting, seconds, value))
                arrived = climb.solver.name != OURS and value <= least + 0.1 * LEVELS[-1] * (start - least)
                quickest = min(quickest, seconds) if arrived else quickest
                if climb.note or arrived or spent > limit or seconds > HOPELESS * quickest:
                    break
            least = min(least, *(one.value for one in climb.fits))
            quickest = min(quickest, climb.seconds(least + LEVELS[-1] * (start - least)))
        wanted = [least + level * (start - least) for level in LEVELS]
        for _ in range(repeats - 1):
            for climb in climbs:
                for setting in {climb.reached(value) for value in wanted} - {None}:
                    seconds, value, _note = workers[climb.solver.library].fit(path, climb.solver, setting)
                    climb.fits.append(Fitted(setting, seconds, value))
    n, d = problem.x.shape
    times = {climb.solver.name: [climb.seconds(value) for value in wanted] for climb in climbs}
    notes = {climb.solver.name: climb.note for climb in climbs if climb.note}
    return Cell(name, n, d, problem.loss, problem.penalty, problem.intercept, times, notes)


def page(cells: list[Cell], libraries: list[str]) -> str:
    """Return the page."""
    about = (
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    lines = ["# Beside other libraries", "", __doc__.strip(), "", f"{about}; {', '.join(libraries)}.", ""]
    lines += ["Ours over the fastest peer, in processor seconds; below 1 ours is faster:", ""]
    lines += ["| half | rows | suboptimality | cells | median | worst | ours faster | within 1.5 | within 50 ms |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for part in ("tuned", "judged"):
        for large in (True, False):
            some = [cell for cell in cells if half(cell.data) == part and (cell.rows >= SMALL) == large]
            lines += [row for k in range(len(LEVELS)) if (row := summary(part, large, k, some))]
    lines += [
        "",
        "Each cell, the worst to 1e-6 first; milliseconds to " + " / ".join(f"{v:g}" for v in LEVELS) + ":",
        "",
    ]
    lines += ["| set | half | rows × columns | loss | penalty | intercept | ours | fastest peer | ratio |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for cell in sorted(cells, key=lambda cell: -np.nan_to_num(cell.ratio(1), nan=0.0, posinf=1e9)):
        best = cell.best(1) or cell.best(0)
        theirs = f"{best} {times(cell.seconds[best])}" if best else "none arrives"
        ratios = " / ".join(ratio(cell.ratio(k)) for k in range(len(LEVELS)))
        lines.append(
            f"| {cell.data} | {half(cell.data)} | {cell.rows} × {cell.columns} | {cell.loss} | {cell.penalty} "
            f"| {'yes' if cell.intercept else 'no'} | {times(cell.seconds[OURS])} | {theirs} | {ratios} |"
        )
    return "\n".join([*lines, ""])


def summary(part: str, large: bool, k: int, cells: list[Cell]) -> str:
    """Return the line of the cells of one kind at one level; "" without any with a peer."""
    raced = [cell for cell in cells if cell.best(k)]
    if not raced:
        return ""
    ratios = [cell.ratio(k) for cell in raced]
    behind = [cell.seconds[OURS][k] - cell.seconds[cell.best(k)][k] <= 0.05 for cell in raced]
    rows = f"{'from' if large else 'below'} {SMALL}"
    middle, worst = ratio(statistics.median(ratios)), ratio(max(ratios))
    return (
        f"| {part} | {rows} | {LEVELS[k]:g} | {len(raced)} | {middle} | {worst} "
        f"| {sum(r <= 1.0 for r in ratios)} | {sum(r <= 1.5 for r in ratios)} | {sum(behind)} |"
    )


def ratio(number: float) -> str:
    """Return a ratio for the table; a peer alone that arrives is "not reached"."""
    return "–" if np.isnan(number) else "not reached" if np.isinf(number) else f"{number:.2f}"


def times(seconds: list[float]) -> str:
    """Return milliseconds for the table."""
    return " / ".join(f"{1e3 * s:.3g}" if np.isfinite(s) else "–" for s in seconds)


def main() -> None:
    """Race, and write the page after each cell, in case the run is interrupted."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="names with commas, or tuned or judged")
    parser.add_argument("--losses", default="", help="names with commas")
    parser.add_argument("--penalties", default=",".join(PENALTIES))
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="with commas; mpiopt is always raced")
    parser.add_argument("--numbers", type=float, default=4e6, help="at most so many numbers of a set: every k-th row")
    parser.add_argument("--limit", type=float, default=5.0, help="processor seconds of all settings of a solver")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    parser.add_argument("--out", default="runs/peers.md", help="the page; beside it a .json with all seconds")
    options = parser.parse_args()
    wanted = [OURS, *(name for name in options.libraries.split(",") if name != OURS)]
    for name in wanted if options.install else []:
        if not interpreter(name).exists():
            install(name)
    libraries = [name for name in FAMILIES if name in wanted and interpreter(name).exists()]
    for name in set(wanted) - set(libraries):
        print(f"{name} is not installed: left out (--install)", file=sys.stderr)
    workers = {name: Worker(name, options.limit) for name in libraries}
    cells: list[Cell] = []
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, problem in problems(options):
        cell = race(name, problem, workers, options.limit, options.repeats)
        cells.append(cell)
        what = f"{name} {problem.loss} {problem.penalty}{' intercept' * problem.intercept}"
        print(f"{what}: {times(cell.seconds[OURS])}, ratio {ratio(cell.ratio(1))} {cell.best(1)}", flush=True)
        out.write_text(page(cells, libraries))
        out.with_suffix(".json").write_text(json.dumps([vars(one) for one in cells], indent=1))
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
