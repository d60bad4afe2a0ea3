"""How much of the exchange hides behind the local steps of saga: `mpirun … python -m benchmarks.overlap`.

Rounds of H local steps and one exchange, timed four ways in turn: the steps alone, the exchange alone, one after the
other, and with overlap. What could be hidden is the shorter of the first two; what is hidden is their sum less the
overlapped round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.ranks import mpirun
from mpiopt.algorithms.saga import Saga, SagaState
from mpiopt.channel import Channel
from mpiopt.comm import Comm
from mpiopt.dataset import DataOptions, prepare
from mpiopt.losses import Loss
from mpiopt.objective import Objective
from mpiopt.penalties import Penalty
from tools import slow_link
from tools.slow_link import Link

WAYS = ("steps", "exchange", "in turn", "overlapped")


def problem(words: str, comm: Comm) -> Objective:
    """Make this rank's rows."""
    prepared = prepare(f"generate:{words},task=binary", "binary", DataOptions(), 0, comm)
    return Objective(Loss.make("logistic", {}), Penalty.make("ridge", {"l2": 1e-3}), prepared.shard)


def ways(objective: Objective, channel: Channel, epochs: float) -> dict[str, Callable[[], None]]:
    """Give one round of each way; all have a state of their own."""
    steps = max(1, round(epochs * objective.shard.total / channel.size))
    made: dict[str, tuple[Saga, SagaState]] = {}
    for way in WAYS:
        options = Saga(local_steps=steps, refresh=0.0, warm_start=False, overlap=way == "overlapped")
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


def measure(words: str, epochs: float, rounds: int, comm: Comm) -> dict[str, float]:
    """Give the median milliseconds of a round for each way; that of the slowest rank."""
    functions = ways(problem(words, comm), Channel(comm), epochs)
    found: dict[str, list[float]] = {way: [] for way in functions}
    for attempt in range(rounds + 1):
        for way, once in functions.items():
            comm.barrier()
            begin = time.perf_counter()
            for _ in range(3):
                once()
            took = float(comm.max(np.array([time.perf_counter() - begin]))[0]) / 3
            if attempt:
                found[way].append(1e3 * took)
    return {way: statistics.median(times) for way, times in found.items()}


def hidden(found: dict[str, float]) -> float:
    """Give the share of what could be hidden that was."""
    return (found["steps"] + found["exchange"] - found["overlapped"]) / min(found["steps"], found["exchange"])


def across(link: Link | None, ranks: int, *words: str) -> dict[str, float]:
    """Measure on ranks across a link, or here where there is none."""
    if link is None:
        return dict(json.loads(mpirun(ranks, "-m", "benchmarks.overlap", *words).splitlines()[-1]))
    line = slow_link.command(link, ranks, [sys.executable, "-m", "mpi4py", "-m", "benchmarks.overlap", *words])
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"benchmarks.overlap: code {done.returncode}: {done.stderr[-300:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure on the ranks of MPI's world; rank 0 prints one line of JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.overlap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="n=100000,d=20000,density=0.01", help="options of generate:")
    parser.add_argument("--epochs", type=float, default=1.0, help="of local work in a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    from mpi4py import MPI

    from mpiopt.comm.mpi import MpiComm

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    found = measure(asked.data, asked.epochs, asked.rounds, comm)
    if comm.rank == 0:
        print(json.dumps({way: round(ms, 3) for way, ms in found.items()} | {"hidden": round(hidden(found), 3)}))


if __name__ == "__main__":
    import benchmarks  # noqa: F401  sets the threads before anything else

    main()
