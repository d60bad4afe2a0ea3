"""Processor time of fits to a suboptimality of 1e-3, 1e-6 and 1e-9, each solver from coarse to fine settings."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field

from benchmarks.data import Problem, Scale
from benchmarks.peers import Solver

LEVELS = (1e-3, 1e-6, 1e-9)
REPEATED = 4.0  # seconds below which a fit is repeated


@dataclass
class Times:
    """The times of one solver."""

    name: str
    ours: bool
    seconds: dict[float, float] = field(default_factory=dict)  # by level
    setting: dict[float, float] = field(default_factory=dict)  # by level
    last: float = 1.0  # suboptimality at the end of the ladder
    longest: float = 0.0  # seconds of the last fit: a lower bound for levels that were not reached
    note: str = ""


def timed(solver: Solver, problem: Problem, setting: float) -> tuple[float, float]:
    """Fit once and return the processor time and F."""
    gc.collect()
    begin = time.process_time()
    w = solver.solve(problem, setting)
    seconds = time.process_time() - begin
    return seconds, problem.value(w)


def climb(solver: Solver, problem: Problem, scale: Scale, limit: float, repeats: int) -> Times:
    """Try finer and finer settings until the last level is reached or `limit` seconds of processor time are spent."""
    times = Times(solver.name, solver.ours)
    try:
        solver.prepare(problem)
        timed(solver, problem, solver.ladder[0])  # imports; kernels are compiled, or loaded from their cache
        begin = time.process_time()
        for setting in solver.ladder:
            seconds, value = timed(solver, problem, setting)
            times.last, times.longest = scale.suboptimality(value), seconds
            reached = [level for level in LEVELS if times.last < level and level not in times.seconds]
            for level in reached:
                times.seconds[level], times.setting[level] = seconds, setting
            if reached and seconds < REPEATED:
                again(times, solver, problem, repeats - 1, reached[-1])
            if LEVELS[-1] in times.seconds or time.process_time() - begin > (3 * limit if solver.ours else limit):
                break
    except Exception as error:  # an error of another library must not end the table
        times.note = f"{type(error).__name__}: {error}"[:80]
    return times


def again(times: Times, solver: Solver, problem: Problem, repeats: int, level: float) -> None:
    """Repeat the setting that reached a level; keep the least time for this level and for coarser ones."""
    for _ in range(repeats):
        seconds = timed(solver, problem, times.setting[level])[0]
        for coarser in (k for k in times.seconds if k >= level):
            times.seconds[coarser] = min(times.seconds[coarser], seconds)


def race(
    problem: Problem, mine: list[Solver], others: list[Solver], scale: Scale, limit: float, repeats: int
) -> list[Times]:
    """Time all solvers; ours are timed again after each peer, so that both meet the same load of the machine."""
    result = [climb(solver, problem, scale, limit, repeats) for solver in mine]
    print("\n".join(line(times) for times in result), flush=True)
    for other in others:
        result.append(climb(other, problem, scale, limit, repeats))
        for solver, times in zip(mine, result, strict=False):
            for level in [k for k in LEVELS[1:] if k in times.setting]:
                again(times, solver, problem, 1, level)
        print(line(result[-1]), flush=True)
    return result


def line(times: Times) -> str:
    """Return one line for the terminal."""
    cells = [f"{times.seconds[k]:9.3f}" if k in times.seconds else "        –" for k in LEVELS]
    return f"  {times.name:<24}{''.join(cells)}   last {times.last:8.1e}  {times.note}"
