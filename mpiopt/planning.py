"""How often to save, and what failures cost: the command `plan --failures`.

J. W. Young, "A first order approximation to the optimum checkpoint interval", Comm. ACM 17 (1974); J. T. Daly, "A
higher order estimate of the optimum checkpoint interval for restart dumps", Future Gener. Comput. Syst. 22 (2006),
equations 20 and 37. Failures are independent, at a constant rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mpiopt.comm import Comm
from mpiopt.flags import parse
from mpiopt.recorder import duration
from mpiopt.signals import Stop

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
NAMES = {"second": "s", "minute": "min", "hour": "h", "day": "d", "week": "w", "month": "30d", "year": "365d"}
USAGE = (
    "plan --failures RATE --save-seconds S [--restart-seconds S] [--nodes N] [--round-seconds S --chain-rounds R] "
    "[--pass-seconds S]; RATE is like 2/week, 1/day or 1/30d, of a node where --nodes is given"
)
FLAGS = ("failures", "save-seconds", "restart-seconds", "nodes", "round-seconds", "chain-rounds", "pass-seconds")


@dataclass(frozen=True)
class Failures:
    """A job's failures and what a checkpoint costs, in seconds."""

    between: float  # M, mean time between two failures of the job
    save: float  # δ, the time of a checkpoint
    restart: float  # R, from the failure to where the lost work is done again

    @property
    def young(self) -> float:
        """Young's interval √(2δM)."""
        return math.sqrt(2.0 * self.save * self.between)

    @property
    def interval(self) -> float:
        """Daly's interval, from the end of one checkpoint to the start of the next."""
        share = self.save / (2.0 * self.between)
        if share >= 1.0:
            return self.between
        return self.young * (1.0 + math.sqrt(share) / 3.0 + share / 9.0) - self.save

    def slowdown(self, interval: float) -> float:
        """Expected wall time over useful time, with a checkpoint every `interval` seconds of work."""
        m = self.between
        return m / interval * math.exp(self.restart / m) * math.expm1((interval + self.save) / m)

    @property
    def lost(self) -> float:
        """Expected seconds lost by one failure at the best interval: half of it, and the restart."""
        return 0.5 * (self.interval + self.save) + self.restart


def plan(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Print the best interval between two checkpoints for a rate of failures."""
    rest, settings = parse(words, dict.fromkeys(FLAGS, True))
    told = dict(settings)
    if rest or "failures" not in told or "save-seconds" not in told:
        raise ValueError(USAGE)
    number = {key: positive(key, text) for key, text in told.items() if key != "failures"}
    between = period(told["failures"]) / number.get("nodes", 1.0)
    failures = Failures(between, number["save-seconds"], number.get("restart-seconds", 60.0))
    if comm.rank == 0:
        print("\n".join([*described(failures), *others(failures, number)]))
    return 0


def described(failures: Failures) -> list[str]:
    """Give the lines of checkpoints on disk."""
    best = failures.interval
    wrong = [f"every {duration(best * factor)}: {over(failures, best * factor)}" for factor in (0.25, 4.0)]
    return [
        f"a failure every {duration(failures.between)} on average; a checkpoint takes {duration(failures.save)}, "
        f"a restart {duration(failures.restart)}",
        f"best interval     {duration(best)} (Daly), {duration(failures.young)} (Young): "
        f"--checkpoint-every {max(1, round(best))}s",
        f"costs             {over(failures, best)} of the time; {'; '.join(wrong)}",
        f"lost per failure  {duration(failures.lost)}: half an interval and the restart",
    ]


def others(failures: Failures, number: dict[str, float]) -> list[str]:
    """Give the lines of what goes on in place, where the times are given."""
    lines = []
    if "round-seconds" in number and "chain-rounds" in number:
        lost = 0.5 * number["chain-rounds"] * number["round-seconds"]
        lines.append(
            f"--recovery chain loses {duration(lost)} a failure: half of R rounds, and reading the rows again"
        )
    if "pass-seconds" in number:
        lost = number["pass-seconds"]
        lines.append(f"--recovery stateless loses {duration(lost)} a failure: a pass, and reading the rows again")
    return lines


def over(failures: Failures, interval: float) -> str:
    """Give the expected overhead of an interval."""
    slow = failures.slowdown(interval) - 1.0
    return f"{slow:.1%}" if slow < 10 else f"{slow:.0f} times"


def period(rate: str) -> float:
    """Read `2/week` or `1/30d` as the seconds between two failures.

    Raises
    ------
    ValueError
        In one line.
    """
    count, slash, per = (part.strip() for part in rate.partition("/"))
    per = NAMES.get(per.removesuffix("s"), per)
    unit = next((u for u in sorted(UNITS, key=len, reverse=True) if per.endswith(u)), "")
    try:
        length = float(per.removesuffix(unit) or 1.0) * UNITS[unit]
        each = length / float(count)
    except (KeyError, ValueError, ZeroDivisionError):
        each = 0.0
    if not (slash and 0.0 < each < math.inf):
        raise ValueError(f"--failures is a rate like 2/week, 1/day or 1/30d, not {rate!r}")
    return each


def positive(key: str, text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:
        raise ValueError(f"--{key} must be a number greater than 0, not {text!r}")
    return value
