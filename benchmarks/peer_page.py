"""The page of `benchmarks.peers`: what each cell took, how many are ahead, and every cell that misses the goal."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.auto import half

LEVELS = (1e-3, 1e-6, 1e-9)
OURS = "mpiopt"
SMALL = 10_000  # rows below which start-up dominates
JUDGED = 1  # the level of the goal: 1e-6
AHEAD = 0.9  # part of the cells with `SMALL` rows or more in which ours is to be ahead
BEHIND = 1.5  # times the fastest peer, there at most
LATE = 0.05  # seconds behind, with fewer rows at most


@dataclass(frozen=True)
class Cell:
    """A problem with the seconds of each solver to each level."""

    data: str
    rows: int
    columns: int
    loss: str
    penalty: str
    intercept: bool
    seconds: dict[str, list[float]]  # by solver, for each level; inf where it was not reached
    notes: dict[str, str]

    @property
    def key(self) -> tuple[str, str, str, bool]:
        """What tells cells apart."""
        return self.data, self.loss, self.penalty, self.intercept

    def best(self, level: int) -> str:
        """Return the fastest peer; "" if none arrived."""
        peers = {name: s[level] for name, s in self.seconds.items() if name != OURS and np.isfinite(s[level])}
        return min(peers, key=peers.__getitem__, default="")

    def ratio(self, level: int) -> float:
        """Return our seconds over those of the fastest peer; nan where none arrived."""
        best, mine = self.best(level), self.seconds[OURS][level]
        return mine / self.seconds[best][level] if best else np.nan if np.isfinite(mine) else np.inf

    def late(self, level: int) -> float:
        """Return by how many seconds ours is behind; negative where it is ahead, or no peer arrives."""
        best = self.best(level)
        return self.seconds[OURS][level] - self.seconds[best][level] if best else -np.inf

    @property
    def misses(self) -> bool:
        """Whether the cell alone misses the goal, or with many rows is behind at all."""
        if self.rows < SMALL:
            return self.late(JUDGED) > LATE
        return self.ratio(JUDGED) > 1.0


def page(cells: list[Cell], about: str, libraries: list[str]) -> str:
    """Return the page; `about` says how it was made."""
    machine = f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores"
    load = f"load {os.getloadavg()[0]:.1f}"
    lines = ["# Beside other libraries", "", about.strip(), "", f"{machine}, {load}; {', '.join(libraries)}.", ""]
    lines += [*verdict(cells), ""]
    lines += ["Ours over the fastest peer, in processor seconds; below 1 ours is faster:", ""]
    lines += ["| half | rows | suboptimality | cells | median | worst | ours faster | within 1.5 | within 50 ms |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for part in ("tuned", "judged"):
        for large in (True, False):
            some = [cell for cell in cells if half(cell.data) == part and (cell.rows >= SMALL) == large]
            lines += [row for k in range(len(LEVELS)) if (row := summary(part, large, k, some))]
    missing = [cell for cell in cells if cell.misses]
    lines += ["", "## Cells that miss the goal", ""]
    lines += table(missing, JUDGED) if missing else ["None."]
    lines += ["", "## Every cell", ""]
    lines += ["The worst to 1e-6 first; milliseconds to " + " / ".join(f"{v:g}" for v in LEVELS) + ":", ""]
    return "\n".join([*lines, *table(cells, JUDGED), ""])


def verdict(cells: list[Cell]) -> list[str]:
    """Return the goal and how far it is met."""
    large = [cell for cell in cells if cell.rows >= SMALL and cell.best(JUDGED)]
    small = [cell for cell in cells if cell.rows < SMALL and cell.best(JUDGED)]
    ahead = sum(cell.ratio(JUDGED) <= 1.0 for cell in large)
    behind = sum(cell.ratio(JUDGED) > BEHIND for cell in large)
    late = sum(cell.late(JUDGED) > LATE for cell in small)
    alone = len(cells) - len(large) - len(small)
    return [
        f"Goal, to a suboptimality of {LEVELS[JUDGED]:g}: with {SMALL} rows or more ahead in {AHEAD:.0%} of the "
        f"cells, and nowhere more than {BEHIND} times behind; with fewer nowhere more than {1e3 * LATE:g} ms behind.",
        f"Found: of {len(large)} cells with {SMALL} rows or more ahead in {ahead}, more than {BEHIND} times behind "
        f"in {behind}; of {len(small)} with fewer more than {1e3 * LATE:g} ms behind in {late}. "
        f"In {alone} more no peer arrives.",
    ]


def table(cells: list[Cell], level: int) -> list[str]:
    """Return the lines of a table of cells, the worst ratio first."""
    lines = ["| set | half | rows × columns | loss | penalty | intercept | ours | fastest peer | ratio |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for cell in sorted(cells, key=lambda cell: -np.nan_to_num(cell.ratio(level), nan=0.0, posinf=1e9)):
        best = cell.best(level) or cell.best(0)
        theirs = f"{best} {times(cell.seconds[best])}" if best else "none arrives"
        ratios = " / ".join(ratio(cell.ratio(k)) for k in range(len(LEVELS)))
        lines.append(
            f"| {cell.data} | {half(cell.data)} | {cell.rows} × {cell.columns} | {cell.loss} | {cell.penalty} "
            f"| {'yes' if cell.intercept else 'no'} | {times(cell.seconds[OURS])} | {theirs} | {ratios} |"
        )
    return lines


def summary(part: str, large: bool, k: int, cells: list[Cell]) -> str:
    """Return the line of the cells of one kind at one level; "" without any with a peer."""
    raced = [cell for cell in cells if cell.best(k)]
    if not raced:
        return ""
    ratios = [cell.ratio(k) for cell in raced]
    rows = f"{'from' if large else 'below'} {SMALL}"
    middle, worst = ratio(statistics.median(ratios)), ratio(max(ratios))
    return (
        f"| {part} | {rows} | {LEVELS[k]:g} | {len(raced)} | {middle} | {worst} "
        f"| {sum(r <= 1.0 for r in ratios)} | {sum(r <= BEHIND for r in ratios)} "
        f"| {sum(cell.late(k) <= LATE for cell in raced)} |"
    )


def ratio(number: float) -> str:
    """Return a ratio for the table; a peer alone that arrives is "not reached"."""
    return "–" if np.isnan(number) else "not reached" if np.isinf(number) else f"{number:.2f}"


def times(seconds: list[float]) -> str:
    """Return milliseconds for the table."""
    return " / ".join(f"{1e3 * s:.3g}" if np.isfinite(s) else "–" for s in seconds)
