"""One of four ranks is ten times slower: the work that each exchange keeps, and the time to a certificate.

`python -m benchmarks.slow_ranks EXCHANGE SLOWED` under mpirun makes one run and prints one line of JSON on rank 0;
without arguments it prints the table. Ranks are slowed by sleeping for each row, so that 4 ranks on 2 cores suffice.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.launching import mpirun, world
from mpiopt.algorithms.saga.local_steps import LocalSteps
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.saga.state import SagaState
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.partition import block
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.duality_gap import gap_of_gradient
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective, Vector
from mpiopt.objective.penalties.base import Penalty

EXCHANGES = ("sync", "overlap", "timed", "async")
ROWS, COLUMNS = 4000, 20
PACE = 4e-5  # seconds for a row


class SlowSteps:
    """Local steps that take `pace` seconds longer for each row."""

    def __init__(self, steps: LocalSteps, pace: float) -> None:
        self._steps, self._pace = steps, pace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._steps, name)

    def run(
        self,
        state: SagaState,
        objective: Objective,
        channel: Channel,
        poll: Callable[[], bool] | None = None,
        epochs: float = 0.0,
    ) -> None:
        """Do the steps, then sleep."""
        before = state.work.visited
        self._steps.run(state, objective, channel, poll, epochs)
        time.sleep((state.work.visited - before) * self._pace)


@dataclass(frozen=True, eq=False)
class SlowObjective(Objective):
    """An objective whose passes over the rows take `pace` seconds longer for each row."""

    pace: float = 0.0

    def refresh(self, w: Vector, table: Vector) -> tuple[float, Vector]:
        """Sleep, then do the pass."""
        time.sleep(len(self.shard) * self.pace)
        return super().refresh(w, table)

    def weighted_gram(self, c: Vector) -> Vector:
        """Sleep, then do the pass."""
        time.sleep(len(self.shard) * self.pace)
        return super().weighted_gram(c)


def slowed(saga: Saga, objective: Objective, channel: Channel, pace: float) -> tuple[SagaState, SlowObjective]:
    """Start a run in which this rank takes `pace` seconds for a row."""
    slow = SlowObjective(objective.loss, objective.penalty, objective.shard, objective.classes, pace)
    state = saga.init(slow, channel)
    state.steps = SlowSteps(state.steps, pace)
    return state, slow


def problem(comm: Comm) -> Objective:
    """Return this rank's rows of a logistic problem, sorted by label."""
    rng = np.random.default_rng(5)
    x = np.zeros((ROWS, -(-COLUMNS // 8) * 8))
    x[:, :COLUMNS] = rng.normal(size=(ROWS, COLUMNS)) * np.geomspace(1.0, 10.0, COLUMNS)
    z = x[:, :COLUMNS] @ rng.normal(size=COLUMNS) / 10.0
    y = np.where(rng.random(ROWS) < 1 / (1 + np.exp(-z)), 1.0, -1.0)
    mine = np.argsort(y, kind="stable")[slice(*block(ROWS, comm.size, comm.rank))]
    shard = Shard(
        DenseRows(x[mine]),
        y[mine],
        np.ones(len(mine)),
        np.arange(len(mine)),
        block(ROWS, comm.size, comm.rank)[0],
        ROWS,
        COLUMNS,
    )
    return Objective(Loss.make("logistic"), Penalty.make("ridge", {"l2": 1.0 / ROWS}), shard)


def measure(comm: Comm, exchange: str, preconditioner: str, slow: float, target: float = 1e-6) -> dict[str, float]:
    """Return rows per second of all ranks and seconds to `target`, with rank 0 `slow` times slower."""
    objective, channel = problem(comm), Channel(comm, seed=1)
    saga = Saga(exchange=exchange, preconditioner=preconditioner, warm_start=False)
    pace = PACE * (slow if comm.rank == 0 else 1.0)
    comm.barrier()
    begin = time.perf_counter()
    state, slowly = slowed(saga, objective, channel, pace)
    started = time.perf_counter()
    for k in range(1000):
        exact = saga.step(k, state, slowly, channel).exact
        if exact is not None and gap_of_gradient(objective, state.w, exact) <= target * exact.value:
            break
    seconds = time.perf_counter() - begin
    rows = [float(r[0]) for r in comm.allgather(state.work[:1])]
    return {
        "seconds": seconds,
        "rate": sum(rows) / (begin + seconds - started),
        "slow": rows[0],
        "fast": float(np.mean(rows[1:])),
    }


class SlowRankFigures(NamedTuple):
    """One line of the table: ratios to runs without a slow rank."""

    preconditioner: str
    exchange: str
    rate: float  # rows per second of all ranks / the same exchange without a slow rank
    ahead: float  # rows of a fast rank / rows of the slow rank
    seconds: float  # to the target / those of sync without a slow rank


def compare() -> Iterator[SlowRankFigures]:
    """Measure all exchanges, with and without a preconditioner."""
    for preconditioner in ("full", "none"):
        even = {exchange: run(exchange, preconditioner, 1.0) for exchange in EXCHANGES}
        for exchange in EXCHANGES:
            slow = run(exchange, preconditioner, 10.0)
            rate, ahead = slow["rate"] / even[exchange]["rate"], slow["fast"] / slow["slow"]
            yield SlowRankFigures(preconditioner, exchange, rate, ahead, slow["seconds"] / even["sync"]["seconds"])


def run(exchange: str, preconditioner: str, slow: float) -> dict[str, float]:
    """Measure on four processes."""
    printed = mpirun(4, "-m", "benchmarks.slow_ranks", exchange, preconditioner, str(slow), seconds=120)
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def main() -> None:
    """Make one run on the ranks of MPI's world, or print the table."""
    if len(sys.argv) == 1:
        print("| steps | exchange | rows/s kept | rows of a fast rank / of the slow one | time / of sync without |")
        print("|---|---|---|---|---|")
        for line in compare():
            print(f"| {' | '.join(v if isinstance(v, str) else f'{v:.2f}' for v in line)} |", flush=True)
        return
    comm = world()
    exchange, preconditioner, slow = sys.argv[1:4]
    measure(comm, exchange, preconditioner, 1.0, target=1e9)  # compiles the kernels
    found = measure(comm, exchange, preconditioner, float(slow))
    if comm.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    import benchmarks  # noqa: F401  sets the threads before anything else

    main()
