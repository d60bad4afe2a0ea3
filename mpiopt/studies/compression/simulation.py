"""Run the panels: in each run, all compressors of a panel see the same stream of rows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core import rng
from mpiopt.kernels import averaged_sgd, compressors
from mpiopt.kernels.averaged_sgd import SgdIterate, SgdMethod, SketchDraws
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.cells import gather
from mpiopt.studies.compression.clients import Clients, make, read
from mpiopt.studies.compression.job import CompressionStudy, Panel
from mpiopt.studies.compression.methods import Matrix, Method, matched
from mpiopt.studies.compression.outcome import CompressionOutcome
from mpiopt.studies.compression.prediction import predict

Vector = NDArray[np.float64]
BLOCK = 2048  # rows drawn at a time
RUN_SEED, METHOD_SEED = 13, 17  # streams of random numbers
MARKS = 8  # evaluations of w̄ in each decade of steps


class PanelSource(NamedTuple):
    """A panel and the clients of its data."""

    panel: Panel
    source: Clients


class RunCurves(NamedTuple):
    """The curves of one run of a panel."""

    panel: str
    run: int
    curves: list[list[float]]  # excess risk at the marks, for each variant


@dataclass
class CompressedIterate:
    """One compressor with or without memory: its iterate and average."""

    method: Method
    memory: str
    gamma: float
    w: Vector
    mean: Vector
    held: Matrix  # (N, d) memories h_i
    seed: NDArray[np.int64]  # (1,) seed of the next draw
    scratch: Vector  # work space of the compressor
    curve: list[float] = field(default_factory=list)  # excess risk of w̄ at the marks

    @property
    def rate(self) -> float:
        """α = 1/(2(ω + 1)), or 0 without memory."""
        return 0.5 / (self.method.omega + 1.0) if self.memory == "difference" else 0.0

    def call(self, done: int) -> SgdMethod:
        """Return the method as the kernel takes it."""
        return SgdMethod(self.method.kind, self.method.option, self.gamma, self.rate, done)


def gamma_of(panel: Panel, clients: Clients, method: Method) -> float:
    """Return γ by the panel's rule."""
    if panel.step == "horizon":
        return float(panel.iterations**-0.4)
    square = float(np.trace(clients.hessian))
    return 0.5 / (square * (1.0 + (method.omega if panel.step == "omega" else 0.0)))


def marks_of(iterations: int) -> list[int]:
    """Return the steps at which w̄ is evaluated; the last step is one of them."""
    count = round(MARKS * np.log10(iterations / 10.0)) + 1
    return sorted({*np.geomspace(10, iterations, max(count, 2)).astype(int).tolist(), iterations})


def iterates_of(panel: Panel, source: Clients, seed: int, run: int) -> list[CompressedIterate]:
    """Make the iterates of a run, all at w = 0."""
    clients, d = len(source.hessians), len(source.best)
    methods = {m.name: m for m in matched(d, panel.levels)}
    made = []
    for i, (name, memory) in enumerate(panel.variants()):
        method, first = methods[name], rng.seed_of(seed, METHOD_SEED + i, run, 0) >> 1
        zero = (np.zeros(d), np.zeros(d), np.zeros((clients, d)), np.array([first]))
        scratch = compressors.scratch(method.kind, method.option, d)
        made.append(CompressedIterate(method, memory, gamma_of(panel, source, method), *zero, scratch))
    return made


def simulate(panel: Panel, source: Clients, seed: int, run: int) -> list[CompressedIterate]:
    """Do the K steps of a run for every compressor; the curves end with the excess risk of the last average."""
    generator = np.random.default_rng((seed, RUN_SEED, run))
    iterates = iterates_of(panel, source, seed, run)
    hessian, best, done = source.hessian, source.best, 0
    size = max(1, BLOCK // (len(source.hessians) * panel.batch))
    for mark in marks_of(panel.iterations):
        while done < mark:
            count = min(size, mark - done)
            advance(panel, source, iterates, count, done, generator)
            done += count
        for iterate in iterates:
            away = iterate.mean - best
            iterate.curve.append(float(0.5 * away @ hessian @ away))
    return iterates


def advance(
    panel: Panel,
    source: Clients,
    iterates: list[CompressedIterate],
    count: int,
    done: int,
    generator: np.random.Generator,
) -> None:
    """Do `count` steps for every compressor."""
    none = SketchDraws(np.empty((0, 0, 0)), np.empty((0, 0)))
    sketching = any(iterate.method.name == "sketch" for iterate in iterates)
    drawn = sketches(count, source, iterates, generator) if sketching else none
    whole = panel.gradient == "whole"
    x, y = (np.empty(0), np.empty(0)) if whole else source.draw(count, generator)
    for iterate in iterates:
        mine = drawn if iterate.method.name == "sketch" else none
        vectors = SgdIterate(iterate.w, iterate.mean, iterate.held, iterate.seed, iterate.scratch)
        if whole:
            averaged_sgd.whole_gradient_steps(count, source.hessian, aims(source), iterate.call(done), vectors, mine)
        else:
            averaged_sgd.stream_steps(x, y, iterate.call(done), vectors, mine)


def aims(source: Clients) -> Matrix:
    """Return H w_i for clients that share H: H w* − ∇F_i(w*), shape (N, d)."""
    return source.hessian @ source.best - source.gradients()


def sketches(
    count: int, source: Clients, iterates: list[CompressedIterate], generator: np.random.Generator
) -> SketchDraws:
    """Draw the random numbers of the sketches of `count` steps: directions (count, N, d) and lengths b (count, N)."""
    clients, d = len(source.hessians), len(source.best)
    h = next(iterate.method.option for iterate in iterates if iterate.method.name == "sketch")
    parts = generator.beta(0.5 * h, 0.5 * (d - h), (count, clients)) if h < d else np.ones((count, clients))
    return SketchDraws(generator.standard_normal((count, clients, d)), parts)


def run(job: CompressionStudy, comm: Comm, stop: StopSignal) -> list[CompressionOutcome]:
    """Run this rank's share of all runs of all panels on its threads, and predict; rank 0 returns the outcomes."""
    sources = open_sources(job, comm)
    tasks = [(one, number) for one in sources for number in range(one.panel.runs)][comm.rank :: comm.size]

    def task(place: tuple[PanelSource, int]) -> RunCurves | None:
        (panel, source), number = place
        if stop.level:
            return None
        begin = time.perf_counter()
        iterates = simulate(panel, source, job.seed, number)
        print(f"{panel.name}, run {number + 1}: {time.perf_counter() - begin:.1f} s", flush=True)
        return RunCurves(panel.name, number, [iterate.curve for iterate in iterates])

    with ThreadPoolExecutor(job.threads or max(1, (os.cpu_count() or 1) // comm.size)) as pool:
        done = [result for result in pool.map(task, tasks) if result]
    curves = {(result.panel, result.run): result.curves for result in gather(comm, done)}
    outcomes: list[CompressionOutcome] = []
    for panel, source in sources if comm.rank == 0 else ():
        runs = [curves[panel.name, r] for r in range(panel.runs) if (panel.name, r) in curves]
        outcomes += outcomes_of(panel, source, runs, job.seed) if runs else []
    return outcomes


def open_sources(job: CompressionStudy, comm: Comm) -> list[PanelSource]:
    """Make or read the clients of each panel; a panel whose file is absent is skipped, and rank 0 says so."""
    sources = []
    for panel in job.panels:
        try:
            sources.append(PanelSource(panel, read(panel, job.folder) if panel.data else make(panel, job.seed)))
        except OSError as error:
            if comm.rank == 0:
                print(f"{panel.name}: skipped, {error}", flush=True)
    return sources


def outcomes_of(
    panel: Panel, source: Clients, runs: Sequence[list[list[float]]], seed: int
) -> list[CompressionOutcome]:
    """Return the outcomes of a panel: all runs of each variant beside the prediction."""
    methods = {m.name: m for m in matched(len(source.best), panel.levels)}
    marks, outcomes = marks_of(panel.iterations), []
    for i, (name, memory) in enumerate(panel.variants()):
        method, curves = methods[name], [variants[i] for variants in runs]
        gamma = gamma_of(panel, source, method)
        p = predict(source, method, memory, gamma, marks, seed)
        closed, grown = p.closed.tolist(), p.grown.tolist()
        outcomes.append(
            CompressionOutcome(panel, name, memory, gamma, method.omega, marks, curves, closed, grown, p.spread)
        )
    return outcomes
