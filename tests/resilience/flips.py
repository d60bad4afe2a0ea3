"""Flip one bit in the memory of a rank while a run goes on, and judge its model by an independent evaluation.

    python -m tests.resilience.flips --count 1000 --seed 0 --jobs 2 --log runs/flips.log
    python -m tests.resilience.flips --count 1000 --seed 0 --log runs/flips.log --counts --page docs/trust.md

The ranks are threads. After a round that the seed draws, one bit of one number changes on one rank: in the model, in
another field of the state, in the rows, the labels or the weights. The model of a run that says "certified" is
evaluated on the rows as they were. The same seed makes the same trials. `tests.resilience.flips_over_mpi` makes them
on ranks of MPI.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import numpy as np

from mpiopt.algorithms.second_order import row_space
from mpiopt.comm.membership import AGAIN, RollBack
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.history import Clock
from mpiopt.core.state import layouts
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective.column_groups import ColumnGroups
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.resilience.round_limit import VARIABLE, RoundLimit
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run
from mpiopt.training.problem import make_algorithm
from mpiopt.training.run_state import RunPlan
from tests.cases.problems import objective, sparse
from tests.resilience.children import Harness
from tests.resilience.trials import main

TOL = 1e-6
SECONDS = 60.0  # after which a trial over MPI is killed, and counts as one that hangs
PATIENCE = 1e6  # seconds that a rank waits for another: what does not come is found by a clock that a pause stops
ROUND = 10.0  # seconds after which a round is ended; one takes milliseconds
COMPILING = 600.0  # seconds for a round in which kernels are compiled
LATEST = 6  # rounds after the first of which a bit flips at the latest
SIZES = (1, 2, 3)


@dataclass(frozen=True)
class Case:
    """A run in which a bit flips."""

    algorithm: str
    loss: str = "logistic"
    l1: float = 0.0
    wide: bool = False  # fewer rows than columns: the start in the space of the rows is all of the run
    grouped: bool = False  # l1 is that of the norms of groups of columns

    def objective(self, form, comm):
        """Return the objective on the rows of this rank."""
        if not self.wide:
            found = objective(self.loss, self.l1, RIDGE, form, comm)
            groups = ColumnGroups.of(np.arange(found.shard.features) // 2, found.rate) if self.grouped else None
            return replace(found, groups=groups)
        rng = np.random.default_rng(5)
        x = rng.normal(size=(WIDE[0], WIDE[1])) * (rng.random(WIDE) < 0.5)
        label = np.where(x[:, :3].sum(axis=1) + rng.normal(size=len(x)) > 0.0, 1.0, -1.0)
        mine = np.array_split(np.arange(len(x)), comm.size)[comm.rank]
        rows = DenseRows(x[mine]) if form == "dense" else sparse(x[mine], WIDE[1])
        weight = np.ones(len(mine))
        shard = Shard(rows, label[mine], weight, np.arange(len(mine)), int(mine[0]), len(x), WIDE[1])
        return Objective(Loss.make(self.loss), Penalty.make("elastic-net", {"l1": 0.0, "l2": RIDGE}), shard)


CASES = (
    Case("lbfgs"),
    Case("saga"),
    Case("newton"),
    Case("saga[exchange=async]"),
    Case("newton", "quantile", l1=0.01),  # ended by the interior-point method
    Case("working-set", l1=0.01, grouped=True),
    Case("lbfgs", "squared-hinge", wide=True),
)
RIDGE, WIDE = 0.05, (16, 240)
PLACES = ("w", "other state", "rows", "labels", "weights")
FAULTS = ("certified and wrong", "hang", "broken")


def writable(target):
    """Return an objective on a copy of its rows, which a trial may change."""
    shard = target.shard
    rows = {name: np.array(a) for name, a in vars(shard.rows).items() if isinstance(a, np.ndarray)}
    shard = replace(
        shard, rows=replace(shard.rows, **rows), label=np.array(shard.label), weight=np.array(shard.weight)
    )
    return replace(target, shard=shard)


def array_at(place, state, shard, rng):
    """Return the array in which a bit is flipped."""
    if place == "w":
        return state.w
    if place == "labels":
        return shard.label
    if place == "weights":
        return shard.weight
    if place == "rows":
        names = ("values", "indices") if isinstance(shard.rows, CsrRows) else ("values",)
        return getattr(shard.rows, names[rng.integers(len(names))])
    names = [] if isinstance(state, SimpleNamespace) else layouts(state)
    others = [name for name in names if name != "w" and np.size(getattr(state, name))]
    return getattr(state, others[rng.integers(len(others))]) if others else state.w


class Flipping:
    """An algorithm that flips a bit on one rank after one round, or where there is none after the start."""

    def __init__(self, inner, comm, target, seed, rounds):
        self._inner, self._comm, self._target = inner, comm, target
        self.rng = np.random.default_rng([seed, 7])
        self.place = PLACES[seed % len(PLACES)]
        self._round = int(self.rng.integers(min(rounds, LATEST))) if rounds else -1
        self._rank = int(self.rng.integers(comm.size))

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def step(self, k, state, target, channel):
        step = self._inner.step(k, state, target, channel)
        self.flip(k, state)
        return step

    def flip(self, k, state):
        """Flip the bit, if this is the round and the rank."""
        if k != self._round or self._comm.rank != self._rank:
            return
        raw = array_at(self.place, state, self._target.shard, self.rng)
        if raw.size:
            raw = raw.reshape(-1).view(np.uint8)
            at = int(self.rng.integers(len(raw)))
            raw[at] ^= np.uint8(1 << int(self.rng.integers(8)))


HERE = threading.local()  # `flipping` of the rank that runs in this thread


@contextlib.contextmanager
def flips_after_the_start():
    """Let a bit flip between the start in the space of the rows and the first evaluation there, too."""
    whole = row_space.with_start

    def with_start(target, channel):
        found = whole(target, channel)
        if found.epochs:
            HERE.flipping.flip(-1, SimpleNamespace(w=found.objective.initial))
        return found

    with mock.patch.object(row_space, "with_start", with_start):
        yield


def size_of(seed):
    """Return the number of ranks of a trial."""
    return SIZES[seed // len(PLACES) % len(SIZES)]


def case_of(seed):
    """Return the case of a trial, and the form of its rows."""
    turn = seed // (len(PLACES) * len(SIZES))
    return CASES[turn % len(CASES)], ("dense", "csr")[turn // len(CASES) % 2]


def ending_on(comm, seed, told, seconds=ROUND):
    """Make one trial on this rank; return how it ended, in words. A round of so many seconds ends the process.

    `told` gets the stack of such a process.
    """
    case, form = case_of(seed)
    clean = case.objective(form, comm)
    target = writable(clean)
    best = undisturbed(case)
    flipping = HERE.flipping = Flipping(make_algorithm(parse_spec(case.algorithm)), comm, target, seed, best.rounds)
    limit = RoundLimit(comm.rank, 0.0, {VARIABLE: str(seconds)}, os._exit, told)
    plan = RunPlan(Stopping(tol=TOL, max_epochs=200.0), limit=limit)
    try:
        with limit, np.errstate(all="ignore"):
            now = run(plan, target, flipping, Channel(comm), StopSignal(), Clock(), lambda row: None)
    except RollBack:
        return "rolled back"
    if now.ending != "certified":
        return "not certified"
    value = float(comm.sum(np.array([clean.evaluate(now.state.w)[0]]))[0]) + clean.penalty_value(now.state.w)
    if not value - best.value <= 10.0 * TOL * abs(best.value):
        return "certified and wrong"
    repaired = "repaired" in [event.kind for event in now.events]
    return "repaired, certified and right" if repaired else "certified and right"


def trial(seed, told, seconds=ROUND):
    """Make one trial on ranks that are threads; return how it ended, in words."""
    try:
        with flips_after_the_start():
            return spmd(size_of(seed), lambda comm: ending_on(comm, seed, told, seconds), timeout=PATIENCE)[0]
    except threading.BrokenBarrierError:
        return "hang"
    except Exception as error:
        return "hang" if "BrokenBarrier" in repr(error) else f"ended with {type(error).__name__}"


class Undisturbed(NamedTuple):
    """What a run without a flip comes to."""

    value: float  # the optimum, to a much smaller tolerance
    rounds: int  # until the certificate


def undisturbed(case, kept={}):  # noqa: B006  computed once
    """Return what the case comes to without a flip."""

    def main(comm, algorithm, tol):
        plan = RunPlan(Stopping(tol=tol, max_epochs=1000.0))
        target, chosen = case.objective("dense", comm), make_algorithm(parse_spec(algorithm))
        return run(plan, target, chosen, Channel(comm), StopSignal(), Clock(), lambda row: None)

    if case not in kept:
        exact = "working-set" if case.grouped else "newton"
        best = spmd(1, lambda comm: main(comm, exact, 1e-12))[0].exact.value
        kept[case] = Undisturbed(best, spmd(1, lambda comm: main(comm, case.algorithm, TOL))[0].round)
    return kept[case]


def compile_kernels():
    """Compile what the trials call, and compute the optima, before the first round that has a limit."""
    step = len(PLACES) * len(SIZES)
    for number in range(0, 2 * step * len(CASES), step):
        undisturbed(case_of(number)[0])
        with open(os.devnull, "w") as stack:
            trial(number, stack, COMPILING)


@contextlib.contextmanager
def compiled():
    """Compile what the trials call before the first of them."""
    compile_kernels()
    yield


def trial_with_stack_apart(seed):
    """Make a trial; the stack of one that takes too long goes nowhere."""
    with open(os.devnull, "w") as stack:
        return trial(seed, stack), ""


def died(code):
    """Return how a trial ended its process."""
    if code == AGAIN:
        return "ended by the limit of a round"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else "broken"


HARNESS = Harness(
    trial_with_stack_apart,
    lambda seed: PLACES[seed % len(PLACES)],
    FAULTS,
    died,
    compiled,
    spoils=lambda seed: PLACES[seed % len(PLACES)] == "rows",  # a flipped index may have written anywhere
)


if __name__ == "__main__":
    sys.exit(main(HARNESS))
