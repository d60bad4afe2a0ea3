"""`python -m benchmarks.peers --install --out docs/benchmarks/peers.md`: whole fits beside other libraries.

Options: [--sets NAME,…|tuned|judged] [--losses NAME,…] [--penalties l2,l1,both] [--libraries NAME,…]
[--numbers N] [--limit SECONDS] [--repeats N] [--install] [--log FILE] [--out FILE.md]

Each library runs in a process of its own; one that is not installed beside mpiopt has an environment in .cache/peers,
which `--install` makes. All get the same rows from one file. A solver climbs from coarse to fine settings; for each
suboptimality (F − F*)/(F(0) − F*) its first setting that reaches it counts. F* is the least F of all fits, of which
one of ours is certified to 1e-12. Then ours and the `RERUN` fastest peers run again in turn, and the least processor
seconds count, from arrays in memory to the model, in one thread.

Every cell is added to the log as soon as it is measured. Another run with the same log leaves out what is there.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import select
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import benchmarks  # noqa: F401  # first: it sets one thread
from benchmarks.auto import half
from benchmarks.data import gaussian, text
from benchmarks.model_classes import LOSSES, PENALTIES, ModelProblem, posed
from benchmarks.peer_page import LEVELS, OURS, Cell, page, ratio, times
from benchmarks.peer_solvers import FAMILIES, LIBRARIES, Solver, solvers
from benchmarks.real_sets import every_real_set

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cache" / "peers"
MODULES = {"scikit-learn": "sklearn"}  # where the name of the module is another one
RERUN = 2  # peers that run again, the fastest to each suboptimality
HOPELESS = 2.0  # times the least seconds to the last level: a solver that takes so long for less is not the fastest
HANGING = 20.0  # times the limit: a fit that takes longer is ended with its process
PATIENCE = 20.0  # times the limit: ours goes on, because F* hangs on it
STARTING = 300.0  # seconds for the first fit of a form: imports, and kernels that are compiled


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


class Worker:
    """A process with one library; it is started at the first request, and again where it has hung or died."""

    def __init__(self, library: str, limit: float) -> None:
        self.library, self.limit = library, limit
        self.process: subprocess.Popen[str] | None = None
        self.warm: set[tuple[object, ...]] = set()

    def warm_up(self, path: Path, solver: Solver, problem: ModelProblem) -> None:
        """Fit once what the process has not fitted in this form: imports, compiled kernels."""
        form = (solver.name, problem.loss, problem.penalty, problem.sparse)
        if form not in self.warm:
            self.fit(path, solver, solver.ladder[0], STARTING)
            self.warm.add(form)

    def fit(self, path: Path, solver: Solver, setting: float, most: float = 0.0) -> tuple[float, float, str]:
        """Return the processor seconds, F, and an error or ""."""
        if self.process is None:
            command = [str(interpreter(self.library)), "-m", "benchmarks.peer_worker", self.library]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, text=True, cwd=ROOT, **pipes)
        self.process.stdin.write(json.dumps([str(path), solver.name, setting]) + "\n")
        self.process.stdin.flush()
        most = max(most, HANGING * self.limit)
        answered = select.select([self.process.stdout], [], [], most)[0]
        answer = self.process.stdout.readline() if answered else ""
        if not answer:
            self.close()
            return np.inf, np.inf, "ended" if answered else f"more than {most:g} s"
        seconds, value, note = json.loads(answer)
        return seconds, value, note

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
            self.warm.clear()


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


def problems(
    options: argparse.Namespace, known: Collection[tuple[str, str, str, bool]] = ()
) -> Iterator[tuple[str, ModelProblem]]:
    """Pose every problem that is asked for and not known; dense columns and real targets are standardised."""
    for name, kind, load in every_set(options.numbers):
        chosen = options.sets in ("", half(name)) or name in options.sets.split(",")
        losses = [loss for loss in LOSSES[kind] if options.losses == "" or loss in options.losses.split(",")]
        every = itertools.product(losses, options.penalties.split(","), (True, False))
        wanted = [each for each in every if chosen and (name, *each) not in known]
        found = load() if wanted else None
        if found is None:
            continue
        x, y = found
        if not hasattr(x, "indptr"):
            spread = x.std(axis=0)
            x = (x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
        if kind == "real":
            y = (y - y.mean()) / y.std()
        for loss, penalty, intercept in wanted:
            yield name, posed(x, y, loss, penalty, intercept)


def every_set(numbers: float) -> Iterator[tuple[str, str, Any]]:
    """Yield the name, the kind of labels, and a function that returns rows and labels, of every set."""
    for kind in LOSSES:
        yield from ((name, kind, lambda name=name, kind=kind: made_up(name, kind)) for name in MADE[kind])
        yield from ((name, kind, load) for name, load in every_real_set(kind, numbers))


MADE = {
    "binary": ["wide", "tall", "words"],
    "multiclass": ["tall"],
    "real": ["wide", "tall", "words"],
    "count": ["tall"],
}


def made_up(name: str, kind: str) -> tuple[Any, Any]:
    """Make a set: `wide` 120 × 4000, `tall` 20 000 × 50 of condition 100, `words` 5000 × 20 000 sparse."""
    random = np.random.default_rng(1)
    if name == "words":
        x = text(5000, 20_000, 7)[0]
    else:
        n, d, condition = (120, 4000, 1.0) if name == "wide" else (20_000, 50, 100.0)
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
            worker.warm_up(path, climb.solver, problem)
            spent = 0.0
            for setting in climb.solver.ladder:
                seconds, value, climb.note = worker.fit(path, climb.solver, setting)
                spent += seconds
                climb.fits.append(Fitted(setting, seconds, value))
                arrived = climb.solver.name != OURS and value <= least + 0.1 * LEVELS[-1] * (start - least)
                quickest = min(quickest, seconds) if arrived else quickest
                most = limit if climb.solver.name != OURS else PATIENCE * limit
                if climb.note or arrived or spent > most or seconds > HOPELESS * quickest:
                    break
            least = min(least, *(one.value for one in climb.fits))
            quickest = min(quickest, climb.seconds(least + LEVELS[-1] * (start - least)))
        wanted = [least + level * (start - least) for level in LEVELS]
        again = contenders(climbs, wanted)
        for _ in range(repeats - 1):
            for climb in again:
                for setting in {climb.reached(value) for value in wanted} - {None}:
                    seconds, value, _note = workers[climb.solver.library].fit(path, climb.solver, setting)
                    climb.fits.append(Fitted(setting, seconds, value))
    n, d = problem.x.shape
    seconds = {climb.solver.name: [climb.seconds(value) for value in wanted] for climb in climbs}
    notes = {climb.solver.name: climb.note for climb in climbs if climb.note}
    return Cell(name, n, d, problem.loss, problem.penalty, problem.intercept, seconds, notes)


def contenders(climbs: list[Climb], wanted: list[float]) -> list[Climb]:
    """Return ours and the fastest peers to each level."""
    found = [climb for climb in climbs if climb.solver.name == OURS]
    peers = [climb for climb in climbs if climb.solver.name != OURS]
    for value in wanted:
        found += sorted(peers, key=lambda climb, value=value: climb.seconds(value))[:RERUN]
    return [climb for climb in climbs if climb in found]


def read_log(path: Path) -> list[Cell]:
    """Return the cells of an earlier run with this log."""
    if not path.exists():
        return []
    return [Cell(**json.loads(line)) for line in path.read_text().splitlines()]


def main() -> None:
    """Race, and write the page after each set, in case the run is interrupted."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="names with commas, or tuned or judged")
    parser.add_argument("--losses", default="", help="names with commas")
    parser.add_argument("--penalties", default=",".join(PENALTIES))
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="with commas; mpiopt is always raced")
    parser.add_argument("--numbers", type=float, default=1e6, help="at most so many numbers of a set: every k-th row")
    parser.add_argument("--limit", type=float, default=0.5, help="processor seconds of all settings of a solver")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    parser.add_argument("--log", default="", help="a line of JSON for each cell; by default beside the page")
    parser.add_argument("--out", default="runs/peers.md", help="the page")
    options = parser.parse_args()
    wanted = [OURS, *(name for name in options.libraries.split(",") if name != OURS)]
    for name in wanted if options.install else []:
        if not interpreter(name).exists():
            install(name)
    libraries = [name for name in FAMILIES if name in wanted and interpreter(name).exists()]
    for name in set(wanted) - set(libraries):
        print(f"{name} is not installed: left out (--install)", file=sys.stderr)
    workers = {name: Worker(name, options.limit) for name in libraries}
    out = Path(options.out)
    log = Path(options.log or (ROOT / "runs" / out.with_suffix(".jsonl").name))
    for path in (out, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    cells, last = read_log(log), ""
    for name, problem in problems(options, {cell.key for cell in cells}):
        cell = race(name, problem, workers, options.limit, options.repeats)
        cells.append(cell)
        what = f"{name} {problem.loss} {problem.penalty}{' intercept' * problem.intercept}"
        print(f"{what}: {times(cell.seconds[OURS])}, ratio {ratio(cell.ratio(1))} {cell.best(1)}", flush=True)
        with log.open("a") as file:
            file.write(json.dumps(vars(cell)) + "\n")
        if name != last:
            out.write_text(page(cells, __doc__, libraries))
        last = name
    out.write_text(page(cells, __doc__, libraries))
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
