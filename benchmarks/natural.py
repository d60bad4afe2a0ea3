"""The natural problem of every real data set, and runs of SAGA on it that are counted in epochs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.data import Scale
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.second_order.lbfgs import Lbfgs
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import DataOptions, Model
from mpiopt.data.dataset import prepare
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.objective import Objective
from mpiopt.training.problem import pose

LEVEL = 1e-6
STORE = Path(".cache/bench")
NEWTON = 3000  # largest number of unknowns for which Newton's method computes F*
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
REAL = ("abalone", "cadata", "cpusmall", "housing", "keggundirected", "pyrim", "triazines")  # real targets
FEW = ("heart_scale", "housing")  # small sets, for quick runs


class RaceResult(NamedTuple):
    """The result of a run of SAGA."""

    epochs: float  # to the level; inf if it was not reached
    rest: float  # (F − F*)/(F(0) − F*) at the end
    step: float = math.nan  # best step of a grid / its first step


def path_of(name: str) -> Path:
    """Return the file of a set."""
    folder = os.environ.get("MPIOPT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    return Path(folder) / SETS[name]


def there(name: str) -> bool:
    """Return whether the file of a set is there."""
    return path_of(name).exists()


def objective_of(name: str, shards: str, comm: Comm) -> Objective:
    """Read a set and pose its natural problem; collective."""
    target = "real" if name in REAL else "auto"
    options = DataOptions(shards=shards, coordinates="file")  # steps by hand are for the columns as they are
    data = prepare(str(path_of(name)), target, options, 0, comm)
    return pose(Model(), data.shard, data.target, data.classes)


def scale_of(name: str, objective: Objective, channel: Channel) -> Scale:
    """Return F(0) and F* from a long run of Newton's method or L-BFGS, stored for later runs; collective."""
    stored = STORE / f"natural-{name}-{objective.shard.total}.npy"
    found = np.load(stored) if channel.rank == 0 and stored.exists() else np.zeros(2)
    found = channel.sum(found)
    if not found.any():
        found = np.array(_solved(objective, channel))
        if channel.rank == 0:
            stored.parent.mkdir(parents=True, exist_ok=True)
            np.save(stored, found)
    return Scale(*(float(v) for v in found))


def _solved(objective: Objective, channel: Channel) -> tuple[float, float]:
    small = objective.outputs * objective.shard.features <= NEWTON
    algorithm: Algorithm[Any] = Newton() if small else Lbfgs()
    state = algorithm.init(objective, channel)
    values = [evaluate_exact(objective, objective.zeros(), channel).value]
    for k in range(60 if small else 600):
        algorithm.step(k, state, objective, channel)
        values.append(evaluate_exact(objective, state.w, channel).value)
        if len(values) > 9 and values[-9] - min(values) <= 1e-15 * abs(values[-1]):
            break
    return values[0], min(values)


def race(algorithm: Saga, objective: Objective, channel: Channel, scale: Scale, cap: float) -> RaceResult:
    """Run until the level or more than `cap` epochs; collective."""
    state, epochs, k, rest = algorithm.init(objective, channel), 0.0, 0, math.inf
    while epochs <= cap:
        try:
            epochs += algorithm.step(k, state, objective, channel).epochs
        except ValueError:  # SAGA reports that it diverges at any step size
            return RaceResult(math.inf, math.inf)
        rest, k = scale.suboptimality(evaluate_exact(objective, state.w, channel).value), k + 1
        if rest <= LEVEL:
            return RaceResult(epochs, rest)
    return RaceResult(math.inf, rest)
