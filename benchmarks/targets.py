"""Turn measurements into lines of the table: what, goal, figure, ratio of figure to goal."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np

from benchmarks import compressors, kernels, natural, overlap, program, rank_speed, slow_ranks, step_sizes
from benchmarks.data import Problem, Scale, load
from benchmarks.optimum import optimum
from tools import slow_link
from tools.slow_link import Link


class Target(NamedTuple):
    """One line of the table; the goal is reached if `ratio` is at least 1."""

    what: str
    goal: str
    figure: str
    ratio: float


def of_kernels(repeats: int) -> list[Target]:
    """Measure epochs of SAGA beside the stream of the rows."""
    found = []
    for n, d, dtype, goal in kernels.DENSE:
        ns = kernels.dense_times(n, d, dtype, repeats)
        for name in ("saga", "pass"):
            share = 100.0 * ns["stream"] / ns[name]
            label = f"kernel {name}, dense {n:,} × {d} {np.dtype(dtype).name}: {ns[name]:.0f} ns a row"
            found.append(Target(label, f">= {goal:g} % of stream", f"{share:.0f} %", share / goal))
    n, d, nonzeros = kernels.SPARSE
    for dtype in (np.float64, np.float32):
        ns = kernels.sparse_times(dtype, repeats, ("saga",))["saga"]
        what = f"kernel saga, csr {n:,} × {d:,} {np.dtype(dtype).name}, {nonzeros} a row"
        goal = kernels.SPARSE_GOAL
        found.append(Target(what, f"<= {goal} ns a nonzero", f"{ns:.2f}", goal / ns))
    return found


def of_compressors(sizes: Collection[int], repeats: int) -> list[Target]:
    """Measure compressors beside memcpy; the goals are for the largest vectors."""
    found = []
    for d in sorted(sizes):
        memcpy, *others = compressors.figures(d, repeats)
        found.append(Target(f"memcpy, d = {d:,}", "–", f"{8 / memcpy.ns:.1f} GB/s", math.nan))
        for f in others:
            goal = f.goal if d == max(sizes) else 0.0
            figure = f"{f.ns:.2f} ns, {8 / f.ns:.1f} GB/s, {memcpy.ns / f.ns:.2f} of memcpy"
            wanted = f"<= {goal:g} ns a number" if goal else "–"
            found.append(Target(f"{f.what}, d = {d:,}", wanted, figure, goal / f.ns if goal else math.nan))
    return found


def of_ranks(part: float, names: Iterable[str], repeats: int) -> list[Target]:
    """Measure the speed-up of 2 ranks and the effort on 16 label-sorted ranks."""
    found = []
    for name in names:
        problem = load(name, part)
        if problem is not None:
            found += efforts(problem, optimum(problem))
            del problem
            one, two = (rank_speed.seconds(name, part, 1e-6, size, repeats) for size in (1, 2))
            found.append(
                Target(
                    f"{name}: 2 ranks, wall {one:.3f} s → {two:.3f} s",
                    ">= 1.8×",
                    f"{one / two:.2f}×",
                    one / two / 1.8,
                )
            )
    return found


def efforts(problem: Problem, scale: Scale) -> list[Target]:
    """Compare epochs and rounds on 16 label-sorted ranks with one."""
    alone, many = (rank_speed.efforts(problem, scale, (1e-6, 1e-9), size) for size in (1, 16))
    more = many[0].epochs / alone[0].epochs
    title = f"{problem.name}, saga on 16 label-sorted ranks"
    figure = f"{many[0].epochs:.3g} / {alone[0].epochs:.3g}"
    found = [Target(f"{title}: epochs to 1e-6 against 1 rank", "<= 1.5×", figure, 1.5 / more)]
    for level, effort, limit in ((1e-6, many[0], 15), (1e-9, many[1], 30)):
        found.append(
            Target(f"{title}: rounds to {level:g}", f"<= {limit}", f"{effort.rounds:g}", limit / effort.rounds)
        )
    return found


def of_overlap(part: float) -> list[Target]:
    """Measure how much of the exchange overlaps local steps, over a slow link if the machine can shape one."""
    words = ("--data", f"n={max(1000, int(part * 100_000))},d=20000,density=0.01", "--rounds", "3")
    obstacle = slow_link.obstacle()
    found = overlap.across(None if obstacle else Link(), 2, *words)
    where = f"through memory ({obstacle})" if obstacle else "100 Mbit/s"
    numbers = ", ".join(
        f"{name} {found[name]:.3g}" for name in ("steps", "exchange", "in turn", "overlapped", "waited")
    )
    title = f"overlap, 2 ranks, {where}, ms of a round: {numbers}"
    saved = found["in turn"] / found["overlapped"]
    return [
        Target(f"{title}: hidden of what could be", ">= 0.9", f"{found['hidden']:.2f}", found["hidden"] / 0.9),
        Target("overlap, the same: round in turn / overlapped", "–", f"{saved:.2f}×", math.nan),
    ]


def of_slow_ranks() -> list[Target]:
    """Measure the rows per second that each exchange keeps if one of 4 ranks is ten times slower."""
    found = []
    for line in slow_ranks.compare():
        what = f"one of 4 ranks 10× slower, {line.preconditioner} preconditioner, {line.exchange}: rows/s kept"
        figure = f"{100 * line.rate:.0f} %, to 1e-6 in {line.seconds:.1f}× the time of sync without"
        goal = 0.7 if line.exchange == "async" else math.nan  # a little less than the three fast ranks of four
        found.append(Target(what, ">= 70 %" if line.exchange == "async" else "–", figure, line.rate / goal))
    return found


def of_program(part: float) -> list[Target]:
    """Measure reading, start and memory."""
    found = [
        Target(f"text, {what}", ">= 500 MB/s", f"{rate:.0f}", rate / 500.0)
        for what, rate in program.parsing(part).items()
    ]
    seconds = program.first_round()
    found.append(
        Target("start to first round, 2 ranks, warm (the whole command)", "<= 2 s", f"{seconds:.2f} s", 2 / seconds)
    )
    more = program.memory(part)
    return [*found, Target("memory over rows + table + 8 vectors", "<= 1.15×", f"{more:.2f}×", 1.15 / more)]


def of_step_sizes(part: float) -> list[Target]:
    """Count the epochs of the default beside those of the best fixed step, on all data sets, or a few if part < 1."""
    found = []
    for name in natural.SETS if part == 1.0 else natural.FEW:
        for size in (1, 4) if natural.there(name) else ():
            row = step_sizes.on_ranks(size, name, ["none"], 60.0)
            mine, best = row["auto"].epochs, step_sizes.fixed(row).epochs
            ratio = step_sizes.PROMISE * best / mine if math.isfinite(mine) else 0.0
            figure = f"{mine:.1f}, {best:.1f} epochs"
            found.append(Target(f"step size by default, best fixed: {name}, {size} ranks", "<= 1.5×", figure, ratio))
    return found
