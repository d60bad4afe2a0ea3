"""One run of a panel: all its compressors on the same stream of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.core import rng as randomness
from mpiopt.kernels import averaged_sgd, compressors
from mpiopt.kernels.averaged_sgd import SgdIterate, SgdMethod, SketchDraws
from mpiopt.studies.compression.methods import Matrix, Method, matched
from mpiopt.studies.compression.panel import Panel
from mpiopt.studies.compression.prediction import Clients

Vector = NDArray[np.float64]
BLOCK = 2048  # rows drawn at a time
RUN_SEED, METHOD_SEED = 13, 17
MARKS = 8  # looks at w̄ in a decade of steps


class SampleSource(Clients, Protocol):
    """Clients whose rows can be drawn."""

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Draw x (count, N, b, d) and y (count, N, b)."""


@dataclass
class CompressedIterate:
    """One compressor with or without memory: its iterate and average."""

    method: Method
    memory: str
    gamma: float
    w: Vector
    mean: Vector
    held: Matrix  # (N, d) h_i
    seed: NDArray[np.int64]  # (1,) of the next draw
    scratch: Vector  # of the compressor
    curve: list[float] = field(default_factory=list)  # excess risk of w̄ at the marks

    @property
    def rate(self) -> float:
        """α = 1/(2(ω + 1)), or 0 without memory."""
        return 0.5 / (self.method.omega + 1.0) if self.memory == "difference" else 0.0

    def call(self, done: int) -> SgdMethod:
        """Return the method as the kernel takes it."""
        return SgdMethod(self.method.kind, self.method.option, self.gamma, self.rate, done)


def gamma_of(panel: Panel, clients: Clients, method: Method) -> float:
    """Give γ by the panel's rule."""
    if panel.step == "horizon":
        return float(panel.iterations**-0.4)
    square = float(np.trace(clients.hessian))
    return 0.5 / (square * (1.0 + (method.omega if panel.step == "omega" else 0.0)))


def marks_of(iterations: int) -> list[int]:
    """Give the steps at which w̄ is looked at, the last included."""
    count = round(MARKS * np.log10(iterations / 10.0)) + 1
    return sorted({*np.geomspace(10, iterations, max(count, 2)).astype(int).tolist(), iterations})


def lanes_of(panel: Panel, source: Clients, seed: int, run: int) -> list[CompressedIterate]:
    """Make the lanes of a run at w = 0."""
    clients, d = len(source.hessians), len(source.best)
    methods = {m.name: m for m in matched(d, panel.levels)}
    made = []
    for i, (name, memory) in enumerate(panel.lanes()):
        method, first = methods[name], randomness.seed_of(seed, METHOD_SEED + i, run, 0) >> 1
        zero = (np.zeros(d), np.zeros(d), np.zeros((clients, d)), np.array([first]))
        scratch = compressors.scratch(method.kind, method.option, d)
        made.append(CompressedIterate(method, memory, gamma_of(panel, source, method), *zero, scratch))
    return made


def simulate(panel: Panel, source: SampleSource, seed: int, run: int) -> list[CompressedIterate]:
    """Do the K steps of a run on every lane; the curves end with the excess risk of the last average."""
    rng = np.random.default_rng((seed, RUN_SEED, run))
    lanes = lanes_of(panel, source, seed, run)
    hessian, best, done = source.hessian, source.best, 0
    size = max(1, BLOCK // (len(source.hessians) * panel.batch))
    for mark in marks_of(panel.iterations):
        while done < mark:
            count = min(size, mark - done)
            advance(panel, source, lanes, count, done, rng)
            done += count
        for lane in lanes:
            away = lane.mean - best
            lane.curve.append(float(0.5 * away @ hessian @ away))
    return lanes


def advance(
    panel: Panel,
    source: SampleSource,
    lanes: list[CompressedIterate],
    count: int,
    done: int,
    rng: np.random.Generator,
) -> None:
    """Do `count` steps on every lane."""
    sketching = any(lane.method.name == "sketch" for lane in lanes)
    none = SketchDraws(np.empty((0, 0, 0)), np.empty((0, 0)))
    drawn = sketches(count, source, lanes, rng) if sketching else none
    whole = panel.gradient == "whole"
    x, y = (np.empty(0), np.empty(0)) if whole else source.draw(count, rng)
    for lane in lanes:
        mine = drawn if lane.method.name == "sketch" else none
        iterate = SgdIterate(lane.w, lane.mean, lane.held, lane.seed, lane.scratch)
        if whole:
            averaged_sgd.whole_gradient_steps(count, source.hessian, aims(source), lane.call(done), iterate, mine)
        else:
            averaged_sgd.stream_steps(x, y, lane.call(done), iterate, mine)


def aims(source: Clients) -> Matrix:
    """Give H w_i for clients that share H: H w* − ∇F_i(w*), shape (N, d)."""
    return source.hessian @ source.best - source.gradients()


def sketches(count: int, source: Clients, lanes: list[CompressedIterate], rng: np.random.Generator) -> SketchDraws:
    """Draw the random numbers for the sketches of `count` steps."""
    clients, d = len(source.hessians), len(source.best)
    h = next(lane.method.option for lane in lanes if lane.method.name == "sketch")
    parts = rng.beta(0.5 * h, 0.5 * (d - h), (count, clients)) if h < d else np.ones((count, clients))
    return SketchDraws(rng.standard_normal((count, clients, d)), parts)
