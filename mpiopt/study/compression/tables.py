"""What the study of paper 4 prints."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mpiopt.study.compression.cells import ERRORS, NEGLECTED, Cell, pairs, transient
from mpiopt.study.compression.panel import COLUMNS
from mpiopt.study.files import aligned

HEAD = f"""log10 excess risk of the averaged iterate at the end: measured / predicted -low+high (authors' figure).
The tolerance belongs to {ERRORS:g} standard deviations of the mean of the runs, by the predicted spread of a run, and
{NEGLECTED:.0%} of the prediction; x: off by more; *: an authors' figure of another number of steps."""


def table(cells: Sequence[Cell]) -> str:
    """Give a line for each panel and memory."""
    lines = [["panel", "K", "runs", "memory", *COLUMNS]]
    for panel, memory in dict.fromkeys((c.panel, c.memory) for c in cells):
        found = {c.method: c for c in cells if (c.panel, c.memory) == (panel, memory)}
        words = [shown(found[m]) if m in found else "" for m in COLUMNS]
        lines.append([panel.name, f"{panel.iterations:g}", str(panel.runs), memory, *words])
    return aligned(lines)


def shown(c: Cell) -> str:
    """Give a cell as text."""
    star = "" if c.panel.iterations == c.panel.authors_iterations else "*"
    theirs = "" if math.isnan(c.authors) else f" ({c.authors:.2f}{star})"
    return f"{'' if c.agrees else 'x '}{c.measured:.2f}/{c.predicted:.2f}{c.low:+.2f}{c.high:+.2f}{theirs}"


def verdicts(cells: Sequence[Cell]) -> str:
    """Count the verdicts, name the cells that differ, and judge the orderings."""
    agree = sum(c.agrees for c in cells)
    lines = [f"{agree} of {len(cells)} cells agree with the prediction"]
    lines += [f"  x {c.panel.name}, {c.method}, memory {c.memory}: {shown(c)}" for c in cells if not c.agrees]
    theirs = [c for c in cells if c.authors_agree is not None]
    if theirs:
        lines.append(f"{sum(bool(c.authors_agree) for c in theirs)} of {len(theirs)} agree with the authors' figure")
        lines += [
            f"  x {c.panel.name}, {c.method}, memory {c.memory}: {shown(c)}" for c in theirs if not c.authors_agree
        ]
    found = list(pairs(list(cells)))
    for source in dict.fromkeys(p.source for p in found):
        some = [p for p in found if p.source == source]
        ties = [p for p in some if not p.holds and p.tied]
        lines.append(f"orderings {source}: {sum(p.holds for p in some)} of {len(some)} hold, {len(ties)} are ties")
        lines += [f"  x {p.text}" for p in some if not p.holds and not p.tied]
    late = transient(list(cells))
    if late:
        lines.append(f"{late} more orderings of the authors' figures are not to be told apart at this K and runs")
    return "\n".join(lines)
