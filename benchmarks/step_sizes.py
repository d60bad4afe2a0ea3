"""Does `mpiopt train` need a step size? Epochs of its default beside the best fixed step, on every set at hand.

python -m benchmarks.step_sizes [--only NAME,…] [--ranks 1,4] [--shards sorted-by-label] [--cap EPOCHS] [--out FILE.md]

An epoch is N row gradients, those of starts and refreshes included. The level is F − F* <= 1e-6 (F(0) − F*), looked
at after each round by an exact evaluation that is not counted. λ = 1/N, no intercept, no scaling; logistic, softmax or
squared, by the labels. A grid of fixed steps goes up and down from the theoretical one by factors of 2; a step that
is slower than the best one so far is left there.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import benchmarks  # noqa: F401  sets the threads before anything else
from mpiopt.algorithms import Algorithm
from mpiopt.algorithms.lbfgs import Lbfgs
from mpiopt.algorithms.newton import Newton
from mpiopt.algorithms.saga import Saga
from mpiopt.channel import Channel
from mpiopt.comm import Comm
from mpiopt.comm.lockstep import Turns
from mpiopt.comm.threads import run_in
from mpiopt.dataset import DataOptions, prepare
from mpiopt.exact import evaluate_exact
from mpiopt.job import Model
from mpiopt.objective import Objective
from mpiopt.problem import pose

LEVEL, PROMISE = 1e-6, 1.5
UP, DOWN = 14, 8  # factors of 2 that are tried
SLOWER = 2  # steps in a row slower than the best, where a direction of the grid is left
STORE = Path(".cache/bench")
SETS = {
    "a1a": "a1a/a1a", "a9a": "a9a/a9a", "abalone": "abalone/abalone", "agaricus": "agaricus/agaricus.txt.train",
    "breast_cancer": "breast_cancer/breast-cancer", "cadata": "cadata/cadata", "cpusmall": "cpusmall/cpusmall",
    "dna": "dna/dna", "german": "german/german.numer_scale", "heart_scale": "heart_scale/heart_scale",
    "higgs7k": "higgs7k/higgs7k.train.gz", "housing": "housing/housing_scale",
    "keggundirected": "keggundirected/keggundirected.gz", "letter": "letter/letter", "magic04": "magic04/magic04",
    "mushrooms": "mushrooms/mushrooms", "pendigits": "pendigits/pendigits.tr",
    "phishing_prefix": "phishing_prefix/phishing.first8618", "pyrim": "pyrim/pyrim",
    "rcv1_cocoa": "rcv1_cocoa/small_train.dat", "satimage": "satimage/satimage.gz", "shuttle": "shuttle/shuttle.gz",
    "spambase": "spambase/spambase.gz", "svmguide1": "svmguide1/svmguide1", "triazines": "triazines/triazines",
    "usps": "usps/usps.t.bz2",
}  # fmt: skip
TARGETS = {"abalone": "real", "cadata": "real", "cpusmall": "real", "housing": "real", "keggundirected": "real",
           "pyrim": "real", "triazines": "real"}  # fmt: skip


class Ran(NamedTuple):
    """How far a run came."""

    epochs: float  # to the level; inf where that was not reached
    rest: float  # (F − F*)/(F(0) − F*) at its end
    step: float = math.nan  # of the best of a grid, in theoretical steps


@dataclass(frozen=True)
class Scale:
    """What F is measured by."""

    start: float  # F(0)
    best: float  # F*

    def rest(self, value: float) -> float:
        """Give (F − F*)/(F(0) − F*)."""
        return (value - self.best) / (self.start - self.best)


def folder() -> Path:
    """Give the folder of the sets."""
    return Path(os.environ.get("MPIOPT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def objective_of(name: str, shards: str, comm: Comm) -> Objective:
    """Read a set and pose its natural problem; collective."""
    path = str(folder() / SETS[name])
    data = prepare(path, TARGETS.get(name, "auto"), DataOptions(shards=shards), 0, comm)
    return pose(Model(), data.shard, data.target, data.classes)


def scale_of(objective: Objective, channel: Channel) -> Scale:
    """Give F(0), and F* from a long run of Newton's method, or of L-BFGS where there are many unknowns; collective."""
    small = objective.outputs * objective.shard.features <= 3000
    algorithm: Algorithm[Any] = Newton() if small else Lbfgs()
    state = algorithm.init(objective, channel)
    values = [evaluate_exact(objective, objective.zeros(), channel).value]
    for k in range(60 if small else 600):
        algorithm.step(k, state, objective, channel)
        values.append(evaluate_exact(objective, state.w, channel).value)
        if len(values) > 9 and values[-9] - min(values) <= 1e-15 * abs(values[-1]):
            break
    return Scale(values[0], min(values))


def race(algorithm: Saga, objective: Objective, channel: Channel, scale: Scale, cap: float) -> Ran:
    """Run until the level or more than `cap` epochs; collective."""
    state, epochs, k, rest = algorithm.init(objective, channel), 0.0, 0, math.inf
    while epochs <= cap:
        try:
            epochs += algorithm.step(k, state, objective, channel).epochs
        except ValueError:  # diverges at any step size
            return Ran(math.inf, math.inf)
        rest = scale.rest(evaluate_exact(objective, state.w, channel).value)
        if rest <= LEVEL:
            return Ran(epochs, rest)
        k += 1
    return Ran(math.inf, rest)


def grid(start: float, algorithm: Saga, objective: Objective, channel: Channel, scale: Scale, cap: float) -> Ran:
    """Give the best of the fixed steps start · 2^k; collective."""
    best = Ran(math.inf, math.inf)
    for way, count in ((1, UP), (-1, DOWN)):
        slower = 0
        for k in range(int(way < 0), count + 1):
            step = start * 2.0 ** (way * k)
            ran = race(replace(algorithm, step_size=step), objective, channel, scale, min(cap, best.epochs))
            better = ran.epochs < best.epochs or (math.isinf(best.epochs) and ran.rest < best.rest)
            best = Ran(ran.epochs, ran.rest, 2.0 ** (way * k)) if better else best
            slower = 0 if better else slower + 1
            if slower > SLOWER:
                break
    return best


def first_of_grid(algorithm: Saga, objective: Objective, channel: Channel) -> float:
    """Give the theoretical step (for the full metric, whose steps are in units of its own: an eighth of all)."""
    state = replace(algorithm, step_size="theoretical").init(objective, channel)
    return float(state.steps.step_size(state))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.step_sizes")
    parser.add_argument("--only", default=",".join(SETS))
    parser.add_argument("--ranks", default="1")
    parser.add_argument("--shards", default="shuffled")
    parser.add_argument("--cap", type=float, default=200.0)
    parser.add_argument("--what", default="auto,none,diagonal")
    asked = parser.parse_args()
    for name in asked.only.split(","):
        for ranks in map(int, asked.ranks.split(",")):
            row = run_in(Turns(ranks, 3600.0), partial(measure, name, asked))[0]
            print(
                name,
                ranks,
                " ".join(f"{k}={v.epochs:.1f}/{v.rest:.0e}/{v.step:g}" for k, v in row.items()),
                flush=True,
            )


def measure(name: str, asked: Any, comm: Comm):
    objective, channel = objective_of(name, asked.shards, comm), Channel(comm, seed=1)
    scale = scale_of(objective, channel)
    out = {}
    what = asked.what.split(",")
    if "auto" in what:
        out["auto"] = race(Saga(), objective, channel, scale, asked.cap)
    for pre in ("none", "diagonal"):
        if pre in what:
            out[pre] = race(Saga(preconditioner=pre), objective, channel, scale, asked.cap)
            out[pre + "-th"] = race(
                Saga(preconditioner=pre, step_size="theoretical"), objective, channel, scale, asked.cap
            )
            first = first_of_grid(Saga(preconditioner=pre), objective, channel)
            out[pre + "-grid"] = grid(first, Saga(preconditioner=pre), objective, channel, scale, asked.cap)
    if "full" in what:
        out["full-grid"] = grid(0.25, Saga(preconditioner="full"), objective, channel, scale, asked.cap)
    return out


if __name__ == "__main__":
    main()
