"""How much of the exchange overlaps the local steps of saga: `mpirun … python -m benchmarks.overlap`.

A round of H local steps and one exchange is timed in four ways in turn: the steps alone, the exchange alone, one
after the other, and with overlap. At most the shorter of the first two can be hidden; the part that is not hidden is
the wait after the steps. The polls, which move the bytes, take time as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.launching import mpirun, output_of, world
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.saga.state import SagaState
from mpiopt.comm.base import Array, Comm, Pending
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from tools import slow_link
from tools.slow_link import Link

REPEATS = 3  # rounds in one timing
WAYS = ("steps", "exchange", "in turn", "overlapped")


def problem(words: str, comm: Comm) -> Objective:
    """Make this rank's rows."""
    prepared = prepare(f"generate:{words},task=binary", "binary", DataOptions(), 0, comm)
    return Objective(Loss.make("logistic", {}), Penalty.make("ridge", {"l2": 1e-3}), prepared.shard)


def ways(objective: Objective, channel: Channel, epochs: float) -> dict[str, Callable[[], None]]:
    """Return functions that do one round in each way, each with its own state."""
    steps = max(1, round(epochs * objective.shard.total / channel.size))
    made: dict[str, tuple[Saga, SagaState]] = {}
    for way in WAYS:
        options = Saga(
            local_steps=steps, refresh=0.0, warm_start=False, exchange="overlap" if way == "overlapped" else "sync"
        )
        made[way] = (options, options.init(objective, channel))

    def whole(way: str) -> Callable[[], None]:
        options, state = made[way]
        return lambda: _ignore(options.step(0, state, objective, channel))

    alone, still = made["steps"][1], made["exchange"][1]
    return {
        "steps": lambda: alone.steps.run(alone, objective, channel),
        "exchange": lambda: _ignore(channel.sum(still.local, still.own)),
        "in turn": whole("in turn"),
        "overlapped": whole("overlapped"),
    }


def _ignore(_result: Any) -> None:
    """Drop a result."""


@dataclass
class TimedChannel(Channel):
    """A channel that measures the time of polls, and of the wait after the steps, of its pending sums."""

    polled: float = 0.0
    waited: float = 0.0

    def start_sum(self, *parts: Array | float) -> Pending:
        """Start a sum whose polls and wait are timed."""
        return TimedSum(super().start_sum(*parts), self)


@dataclass
class TimedSum:
    """A pending sum that adds its times to the channel."""

    pending: Pending
    channel: TimedChannel

    def poll(self) -> bool:
        """Poll the sum."""
        begin = time.perf_counter()
        done = self.pending.poll()
        self.channel.polled += time.perf_counter() - begin
        return done

    def wait(self) -> Array:
        """Wait for the sum."""
        begin = time.perf_counter()
        result = self.pending.wait()
        self.channel.waited += time.perf_counter() - begin
        return result


def measure(words: str, epochs: float, rounds: int, comm: Comm) -> dict[str, float]:
    """Return the median milliseconds of a round on the slowest rank for each way, and of its polls and its wait."""
    channel = TimedChannel(comm)
    functions = ways(problem(words, comm), channel, epochs)
    found: dict[str, list[float]] = {name: [] for name in (*functions, "polled", "waited")}
    for attempt in range(rounds + 1):
        for way, once in functions.items():
            comm.barrier()
            begin, channel.polled, channel.waited = time.perf_counter(), 0.0, 0.0
            for _ in range(REPEATS):
                once()
            took = np.array([time.perf_counter() - begin, channel.polled, channel.waited]) / REPEATS
            slowest, mean = comm.max(took), comm.sum(took) / comm.size
            if attempt:
                found[way].append(1e3 * slowest[0])
            if attempt and way == "overlapped":
                found["polled"].append(1e3 * mean[1])
                found["waited"].append(1e3 * mean[2])
    return {name: statistics.median(times) for name, times in found.items()}


def hidden(found: dict[str, float]) -> float:
    """Return the hidden share of the time that could be hidden."""
    return min(1.0, (found["exchange"] - found["waited"]) / min(found["steps"], found["exchange"]))


def across(link: Link | None, ranks: int, *words: str) -> dict[str, float]:
    """Measure on ranks across a link, or on this machine if there is none."""
    if link is None:
        return dict(json.loads(mpirun(ranks, "-m", "benchmarks.overlap", *words).splitlines()[-1]))
    line = slow_link.command(link, ranks, [sys.executable, "-m", "mpi4py", "-m", "benchmarks.overlap", *words])
    return dict(json.loads(output_of(line, 300.0).splitlines()[-1]))


def main() -> None:
    """Measure on the ranks of MPI's world; rank 0 prints one line of JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.overlap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="n=100000,d=20000,density=0.01", help="options of generate:")
    parser.add_argument("--epochs", type=float, default=1.0, help="of local work in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    comm = world()
    found = measure(options.data, options.epochs, options.rounds, comm)
    if comm.rank == 0:
        print(json.dumps({way: round(ms, 3) for way, ms in found.items()} | {"hidden": round(hidden(found), 3)}))


if __name__ == "__main__":
    import benchmarks  # noqa: F401  sets the threads before anything else

    main()
