"""Groups of runs that differ in their seeds only, and their ranking by cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mpiopt.results.compare import LEVELS, costs
from mpiopt.results.run_record import RunRecord

# Keys of a job that do not make another setting: the seed, and what the run writes and prints.
IGNORED = frozenset(
    (
        "seed",
        "out",
        "log",
        "resume",
        "checkpoint_every",
        "checkpoint_form",
        "io_hints",
        "quiet",
        "verify",
        "data_checksum",
    )
)


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs of one setting."""

    name: str
    records: list[RunRecord]
    names: list[str]  # of the runs

    @property
    def problem(self) -> tuple[str, ...]:
        """What the runs minimise; the seed, which may decide the rows that are held out, left out."""
        return self.records[0].problem[:-1]

    def costs(self, measure: str, level: float) -> list[float]:
        """Return the costs of the runs that reached this certificate."""
        found = [costs(r.history, level) for r in self.records]
        return [c[measure] for c in found if c is not None]

    def standing(self, measure: str, level: float) -> tuple[float, float]:
        """Return a sort key, smaller for a better group: the share of runs that missed the level, the median cost."""
        spent = self.costs(measure, level)
        missing = 1.0 - len(spent) / len(self.records)
        if not spent:
            return 1.0, min(float(r.history["certificate"].min()) for r in self.records)
        return missing, median(spent)


def settings(record: RunRecord) -> dict[str, str]:
    """Return the setting of a run: the keys and values that matter."""
    ranks = {"ranks": str(record.provenance.get("ranks", ""))}
    return {k: v for k, v in record.settings.items() if k.rpartition(".")[2] not in IGNORED} | ranks


def differing(records: Sequence[RunRecord]) -> list[str]:
    """Return the keys in which the runs differ."""
    found = [settings(r) for r in records]
    keys = dict.fromkeys(key for one in found for key in one)
    return [key for key in keys if len({one.get(key, "") for one in found}) > 1]


def grouped(records: Sequence[RunRecord], names: Sequence[str]) -> list[RunGroup]:
    """Return the groups, in the order of their first runs.

    A group is named by the common beginning of its runs' names if that is unique, else by what differs.
    """
    keys = differing(records)
    found: dict[tuple[str, ...], list[int]] = {}
    for i, record in enumerate(records):
        mine = settings(record)
        found.setdefault(tuple(mine.get(key, "") for key in keys), []).append(i)
    stems = [stem([names[i] for i in places]) for places in found.values()]
    shared = all(stems) and len(set(stems)) == len(stems)
    groups = []
    for values, places in found.items():
        values_text = ", ".join(f"{k.rpartition('.')[2]} {v}" for k, v in zip(keys, values, strict=True))
        runs = [names[i] for i in places]
        groups.append(
            RunGroup(stem(runs) if shared else values_text or "all runs", [records[i] for i in places], runs)
        )
    return groups


def stem(names: Sequence[str]) -> str:
    """Return the common beginning of names; the whole name if there is one."""
    if len(names) == 1:
        return names[0]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike).rstrip("-_. 0123456789")


def deepest(groups: Sequence[RunGroup]) -> float:
    """Return the smallest certificate that is no smaller than any tolerance and that all runs of a group reached.

    Without one it is the first level. Below the largest tolerance it is chance how far a run goes.
    """
    tol = max(record.tol for group in groups for record in group.records)
    every = [level for level in {*LEVELS, tol} if level >= tol > 0.0 or (tol == 0.0 and level > 0.0)]
    complete = [level for level in every if any(len(g.costs("round", level)) == len(g.records) for g in groups)]
    return min(complete, default=LEVELS[0])


def ranked(groups: Sequence[RunGroup], measure: str, level: float) -> list[RunGroup]:
    """Return the groups, the best first."""
    return sorted(groups, key=lambda group: group.standing(measure, level))
