"""`python -m benchmarks.baselines > docs/benchmarks/baselines.md`: bytes to 1e-10 of published compressed methods.

Each run is an algorithm on 4 ranks in threads with label-sorted rows, on small sets, logistic loss, l2 = 1e-3 in the
columns that algorithms see. The table has the kilobytes that all ranks sent together until
F − F* <= 1e-10 (F(0) − F*), the rounds and the epochs. Bytes of an algorithm's own exchanges count, those of the
judge, who knows F*, do not; so nothing is certified here. A run has a budget of 4000 rounds. `saga` with its
preconditioner and 4 bits is what `--compress quantised` does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.auto import ROOT
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.base import Comm
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.core.config.job import DataOptions
from mpiopt.core.config.spec import parse_spec
from mpiopt.data.dataset import prepare
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

SETS = ("heart_scale/heart_scale", "breast_cancer/breast-cancer", "german/german.numer_scale")
SETTINGS = (
    ("saga", "none"),
    ("saga", "quantised"),
    ("diana", "quantised"),
    ("diana", "rand-k"),
    ("ef21", "quantised"),
    ("ef21", "top-k"),
    ("locodl", "none"),
    ("locodl", "quantised"),
    ("locodl", "natural"),
    ("locodl", "rand-k"),
)
NOTES = """
`saga` sends the fewest bytes, because its preconditioner leaves few rounds. Of the published methods `locodl` is
the best, by local steps: with 4 bits it needs 2.4 to 3.9 times fewer bytes than `diana` and `ef21` where these
arrive, and 520 to 2300 times the epochs of `saga`. "–" is not in 4000 rounds; `locodl` with rand-k was not run to
its end.
"""
RANKS, TARGET, ROUNDS, L2 = 4, 1e-10, 4000, 1e-3
LOOKS = 50  # the judge looks after each of the first so many rounds, then after each further fiftieth


class Cost(NamedTuple):
    """What a run sent and computed until it arrived."""

    kilobytes: float
    rounds: int
    epochs: float


def optimum(objective: Objective, comm: Comm) -> tuple[float, float]:
    """Return F at the origin and F*, by Newton's method; collective."""
    channel, newton = Channel(comm), Newton()
    state = newton.init(objective, channel)
    for k in range(20):
        newton.step(k, state, objective, channel)
    return evaluate_exact(objective, objective.origin(), channel).value, float(state.value[0])


def cost(path: Path, name: str, compressor: str) -> Cost | None:
    """Run until the target is met; None if it is not in `ROUNDS` rounds."""
    algorithm: Algorithm[Any] = Algorithm.make(name)

    def main(comm: Comm) -> Cost | None:
        data = prepare(str(path), "binary", DataOptions(shards="sorted-by-label"), 0, comm)
        objective = Objective(Loss.make("logistic"), Penalty.make("ridge", {"l2": L2}), data.shard)
        high, low = optimum(objective, comm)
        spec = parse_spec(compressor)
        made = None if compressor == "none" else Compressor.make(spec.name, spec.options)
        channel, judge = Channel(comm, 0, made, algorithm.compressed_memory), Channel(comm)
        state, epochs = algorithm.init(objective, channel), 0.0
        for k in range(ROUNDS):
            epochs += algorithm.step(k, state, objective, channel).epochs
            if (k + 1) % max(1, k // LOOKS):
                continue
            if evaluate_exact(objective, state.w, judge).value - low <= TARGET * (high - low):
                return Cost(channel.counts()["bytes_sent"].sum() / 1e3, k + 1, epochs)
        return None

    return spmd(RANKS, main, 600.0)[0]


def main() -> None:
    """Measure and print."""
    there = [ROOT / name for name in SETS if (ROOT / name).exists()]
    print("# Published compressed methods", "", str(__doc__).strip(), "", sep="\n")
    print(
        "| algorithm | `--compress` |", " | ".join(f"{path.parent.name}: kB (rounds, epochs)" for path in there), "|"
    )
    print("|---|---|" + "---|" * len(there))
    for name, compressor in SETTINGS:
        found = [cost(path, name, compressor) for path in there]
        cells = ["–" if c is None else f"{c.kilobytes:.4g} ({c.rounds}, {c.epochs:.0f})" for c in found]
        print(f"| {name} | {compressor} |", " | ".join(cells), "|", flush=True)
        print(name, compressor, file=sys.stderr, flush=True)
    print(NOTES.rstrip())


if __name__ == "__main__":
    main()
