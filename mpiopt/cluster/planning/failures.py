"""`mpiopt plan --failures RATE --save-seconds S`: the best checkpoint interval, and what each recovery loses.

Saving takes C seconds, a failure comes every M seconds on average, a restart takes R seconds. J. W. Young, A first
order approximation to the optimum checkpoint interval, CACM 17 (1974); J. T. Daly, A higher order estimate of the
optimum checkpoint interval for restart dumps, Future Generation Computer Systems 22 (2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mpiopt.core.config.flags import parse
from mpiopt.core.durations import duration, read_duration

USAGE = (
    "plan --failures RATE --save-seconds S [--restart-seconds S] [--nodes N] [--round-seconds S --chain-rounds R] "
    "[--pass-seconds S]; RATE is like 1/day or 0.02/h, of a node if --nodes is given"
)
FLAGS = ("failures", "save-seconds", "restart-seconds", "nodes", "round-seconds", "chain-rounds", "pass-seconds")
RESTART_SECONDS = 60.0  # assumed seconds of a restart, unless --restart-seconds is given
PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0, "week": 604800.0}  # in seconds
LONG_NAMES = {"second": "s", "minute": "min", "hour": "h", "day": "day", "week": "week"}  # plurals have an s more


def young(save: float, between: float) -> float:
    """Return √(2 C M), the seconds of work between two checkpoints."""
    return math.sqrt(2.0 * save * between)


def daly(save: float, between: float) -> float:
    """Return √(2 C M) (1 + √(C/(2M))/3 + C/(18 M)) − C; M if saving takes 2 M or more."""
    if save >= 2.0 * between:
        return between
    ratio = save / (2.0 * between)
    return young(save, between) * (1.0 + math.sqrt(ratio) / 3.0 + ratio / 9.0) - save


@dataclass(frozen=True)
class Failures:
    """The failures of a job and the cost of its checkpoints, in seconds."""

    between: float  # M, mean time between two failures of the job
    save: float  # C, time of a checkpoint
    restart: float = RESTART_SECONDS  # R, from the failure to the first new work

    @property
    def interval(self) -> float:
        """Daly's interval, from the end of one checkpoint to the start of the next."""
        return daly(self.save, self.between)

    @property
    def lost_at_each(self) -> float:
        """Expected seconds lost by one failure at the best interval: half of the interval, and the restart."""
        return 0.5 * (self.interval + self.save) + self.restart

    def lost_part(self, interval: float) -> float:
        """Return the part of the wall time that saving, failures and restarts take.

        1 − τ/(M e^{R/M} (e^{(τ + C)/M} − 1)), τ the interval: Daly's expected wall time for exponential failures.
        """
        if math.isinf(self.between):
            return self.save / (interval + self.save)
        cycle = (
            self.between * math.exp(self.restart / self.between) * math.expm1((interval + self.save) / self.between)
        )
        return 1.0 - interval / cycle


def describe(words: Sequence[str]) -> str:
    """Return the best interval and what it loses, beside the other recoveries.

    Raises
    ------
    ValueError
        In one line, for a rate or a number that cannot be read.
    """
    positional, settings = parse(words, dict.fromkeys(FLAGS, True))
    given = dict(settings)
    if positional or "failures" not in given or "save-seconds" not in given:
        raise ValueError(f"plan without data needs --failures and --save-seconds: mpiopt {USAGE}")
    numbers = {key: _positive(key, text) for key, text in given.items() if key != "failures"}
    between = seconds_between(given["failures"]) / numbers.get("nodes", 1.0)
    failures = Failures(between, numbers["save-seconds"], numbers.get("restart-seconds", RESTART_SECONDS))
    return "\n".join([*_checkpoint_lines(failures), *_in_place_lines(numbers)])


def _checkpoint_lines(failures: Failures) -> list[str]:
    best = failures.interval
    others = [f"every {duration(best * factor)}: {failures.lost_part(best * factor):.1%}" for factor in (0.25, 4.0)]
    return [
        f"a failure every {duration(failures.between)} on average; a checkpoint takes {duration(failures.save)}, "
        f"a restart {duration(failures.restart)}",
        f"best interval     {duration(best)} (Daly), {duration(young(failures.save, failures.between))} (Young): "
        f"--checkpoint-every {max(1, round(best))}s",
        f"loses             {failures.lost_part(best):.1%} of the wall time; {'; '.join(others)}",
        f"lost per failure  {duration(failures.lost_at_each)}: half an interval and the restart",
    ]


def _in_place_lines(numbers: dict[str, float]) -> list[str]:
    """Return the lines of the recoveries without a restart whose times are given."""
    lines = []
    if "round-seconds" in numbers and "chain-rounds" in numbers:
        seconds = 0.5 * numbers["chain-rounds"] * numbers["round-seconds"]
        lines.append(
            f"--recovery chain loses {duration(seconds)} a failure: half of R rounds, and reading the rows again"
        )
    if "pass-seconds" in numbers:
        seconds = numbers["pass-seconds"]
        lines.append(f"--recovery stateless loses {duration(seconds)} a failure: a pass, and reading the rows again")
    return lines


def _positive(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = read_duration(text) if key.endswith("seconds") else 0.0
    if not 0.0 < value < math.inf:
        raise ValueError(f"--{key} must be a number greater than 0, not {text!r}")
    return value


def seconds_between(text: str) -> float:
    """Read a failure rate such as `1/day` or `0.02/h`, as the seconds between two failures."""
    number, slash, unit = text.partition("/")
    try:
        failures = float(number)
        if not slash or not failures > 0:
            raise ValueError
        unit = unit.strip()
        return PERIODS[LONG_NAMES.get(unit.removesuffix("s"), unit)] / failures
    except (ValueError, KeyError):
        raise ValueError(f"--failures must be like 1/day or 2/hour, of the whole job; not {text!r}") from None
