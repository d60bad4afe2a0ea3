"""Flip one bit in the memory of a rank while a run goes on, and judge its model by an independent evaluation.

    python -m tests.resilience.flips --count 1000 --seed 0 --out runs/flips.json

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
from dataclasses import replace

import numpy as np

from mpiopt.comm.membership import AGAIN, RollBack
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.history import Clock
from mpiopt.core.state import layouts
from mpiopt.data.shard import CsrRows
from mpiopt.resilience.round_limit import VARIABLE, RoundLimit
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run
from mpiopt.training.problem import make_algorithm
from mpiopt.training.run_state import RunPlan
from tests.cases.problems import objective
from tests.resilience.children import Harness
from tests.resilience.trials import main, tally_of

TOL = 1e-6
SECONDS = 60.0  # after which a trial over MPI is killed, and counts as one that hangs
PATIENCE = 1e6  # seconds that a rank waits for another: what does not come is found by a clock that a pause stops
ROUND = 10.0  # seconds after which a round is ended; one takes milliseconds
COMPILING = 600.0  # seconds for a round in which kernels are compiled
ALGORITHMS = ("lbfgs", "saga", "newton")
SIZES = (1, 2, 3)
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
    others = [name for name in layouts(state) if name != "w" and np.size(getattr(state, name))]
    return getattr(state, others[rng.integers(len(others))]) if others else state.w


class Flipping:
    """An algorithm that flips a bit on one rank after one round."""

    def __init__(self, inner, comm, target, seed):
        self._inner, self._comm, self._target = inner, comm, target
        self.rng = np.random.default_rng([seed, 7])
        self.place = PLACES[seed % len(PLACES)]
        self._round, self._rank = int(self.rng.integers(6)), int(self.rng.integers(comm.size))

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def step(self, k, state, target, channel):
        step = self._inner.step(k, state, target, channel)
        if k == self._round and self._comm.rank == self._rank:
            raw = array_at(self.place, state, self._target.shard, self.rng)
            if raw.size:
                raw = raw.reshape(-1).view(np.uint8)
                at = int(self.rng.integers(len(raw)))
                raw[at] ^= np.uint8(1 << int(self.rng.integers(8)))
        return step


def size_of(seed):
    """Return the number of ranks of a trial."""
    return SIZES[seed // len(PLACES) % len(SIZES)]


def ending_on(comm, seed, told, seconds=ROUND):
    """Make one trial on this rank; return how it ended, in words. A round of so many seconds ends the process.

    `told` gets the stack of such a process.
    """
    algorithm = ALGORITHMS[seed // (len(PLACES) * len(SIZES)) % len(ALGORITHMS)]
    clean = objective("logistic", 0.0, 0.05, ("dense", "csr")[seed // 45 % 2], comm)
    target = writable(clean)
    flipping = Flipping(make_algorithm(parse_spec(algorithm)), comm, target, seed)
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
    if not value - best() <= 10.0 * TOL * abs(best()):
        return "certified and wrong"
    repaired = "repaired" in [event.kind for event in now.events]
    return "repaired, certified and right" if repaired else "certified and right"


def trial(seed, told, seconds=ROUND):
    """Make one trial on ranks that are threads; return how it ended, in words."""
    try:
        return spmd(size_of(seed), lambda comm: ending_on(comm, seed, told, seconds), timeout=PATIENCE)[0]
    except threading.BrokenBarrierError:
        return "hang"
    except Exception as error:
        return "hang" if "BrokenBarrier" in repr(error) else f"ended with {type(error).__name__}"


def best(kept={}):  # noqa: B006  computed once
    """Return the optimum, by the same problem without a flip to a much smaller tolerance."""
    if not kept:

        def main(comm):
            target = objective("logistic", 0.0, 0.05, "dense", comm)
            plan = RunPlan(Stopping(tol=1e-12, max_epochs=500.0))
            algorithm = make_algorithm(parse_spec("newton"))
            return run(plan, target, algorithm, Channel(comm), StopSignal(), Clock(), lambda row: None).exact.value

        kept["value"] = spmd(1, main)[0]
    return kept["value"]


def compile_kernels():
    """Compile what the trials call, and compute the optimum, before the first round that has a limit."""
    best()
    for kernel in range(0, 90, 15):
        with open(os.devnull, "w") as stack:
            trial(kernel, stack, COMPILING)


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


def trials(count, seed):
    """Make so many trials; return how they ended, by place; print each fault."""
    return tally_of(HARNESS, range(seed, seed + count))


if __name__ == "__main__":
    sys.exit(main(HARNESS))
