"""What failures cost by each recovery, where the seconds of a checkpoint are known: `plan --save-seconds`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mpiopt.cluster.planning import interval
from mpiopt.cluster.planning.disk import seconds_between
from mpiopt.core.config.flags import parse
from mpiopt.core.history import duration

USAGE = (
    "plan --failures RATE --save-seconds S [--restart-seconds S] [--nodes N] [--round-seconds S --chain-rounds R] "
    "[--pass-seconds S]; RATE is like 1/day or 0.02/h, of a node where --nodes is given"
)
FLAGS = ("failures", "save-seconds", "restart-seconds", "nodes", "round-seconds", "chain-rounds", "pass-seconds")


@dataclass(frozen=True)
class Failures:
    """A job's failures and what a checkpoint costs, in seconds."""

    between: float  # M, mean time between two failures of the job
    save: float  # C, the time of a checkpoint
    restart: float  # R, from the failure to where lost work is done again

    @property
    def interval(self) -> float:
        """Daly's interval, from the end of one checkpoint to the start of the next."""
        return interval.daly(self.save, self.between)

    @property
    def lost(self) -> float:
        """Expected seconds lost by one failure at the best interval: half of it, and the restart."""
        return 0.5 * (self.interval + self.save) + self.restart

    def part(self, seconds: float) -> str:
        """Give the part of the wall time that is lost with this interval, in words."""
        return f"{interval.lost(seconds, self.save, self.between, self.restart):.1%}"


def told(words: Sequence[str]) -> str:
    """Give the best interval and what it loses, beside the other recoveries.

    Raises
    ------
    ValueError
        In one line: a rate or a number that is none.
    """
    rest, settings = parse(words, dict.fromkeys(FLAGS, True))
    given = dict(settings)
    if rest or "failures" not in given or "save-seconds" not in given:
        raise ValueError(USAGE)
    number = {key: positive(key, text) for key, text in given.items() if key != "failures"}
    between = seconds_between(given["failures"]) / number.get("nodes", 1.0)
    failures = Failures(between, number["save-seconds"], number.get("restart-seconds", 60.0))
    return "\n".join([*described(failures), *others(number)])


def described(failures: Failures) -> list[str]:
    """Give the lines of checkpoints on disk."""
    best, young = failures.interval, interval.young(failures.save, failures.between)
    wrong = [f"every {duration(best * factor)}: {failures.part(best * factor)}" for factor in (0.25, 4.0)]
    return [
        f"a failure every {duration(failures.between)} on average; a checkpoint takes {duration(failures.save)}, "
        f"a restart {duration(failures.restart)}",
        f"best interval     {duration(best)} (Daly), {duration(young)} (Young): "
        f"--checkpoint-every {max(1, round(best))}s",
        f"loses             {failures.part(best)} of the wall time; {'; '.join(wrong)}",
        f"lost per failure  {duration(failures.lost)}: half an interval and the restart",
    ]


def others(number: dict[str, float]) -> list[str]:
    """Give the lines of what goes on in place, where its times are given."""
    lines = []
    if "round-seconds" in number and "chain-rounds" in number:
        seconds = 0.5 * number["chain-rounds"] * number["round-seconds"]
        lines.append(
            f"--recovery chain loses {duration(seconds)} a failure: half of R rounds, and reading the rows again"
        )
    if "pass-seconds" in number:
        seconds = number["pass-seconds"]
        lines.append(f"--recovery stateless loses {duration(seconds)} a failure: a pass, and reading the rows again")
    return lines


def positive(key: str, text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:
        raise ValueError(f"--{key} must be a number greater than 0, not {text!r}")
    return value
