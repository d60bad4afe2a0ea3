"""What the study prints: iterations and messages of every cell, the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.study.files import aligned
from mpiopt.study.stepsize.facts import shown
from mpiopt.study.stepsize.simulation import Outcome
from mpiopt.study.verdicts import Fact


def table(found: Sequence[Outcome]) -> str:
    """Give one line for each place, one column for each method: iterations/messages in thousands, or how it ended."""
    methods = list(dict.fromkeys(o.cell.method for o in found))
    by_cell = {o.cell: o for o in found}
    lines = [["n", "graph", "coordinator", "form", "spread", *methods]]
    for cell in dict.fromkeys(o.cell._replace(method="") for o in found):
        here = [by_cell.get(cell._replace(method=m)) for m in methods]
        words = [str(cell.ranks), cell.topology, cell.coordinator, cell.form, f"{cell.spread:g}"]
        lines.append([*words, *(entry(o) if o else "" for o in here)])
    return aligned(lines)


def entry(o: Outcome) -> str:
    """Give iterations/messages of a run."""
    return f"{o.iterations}/{o.messages / 1000:.1f}k" if o.reached else shown(o)


def facts_text(facts: Sequence[Fact]) -> str:
    """Give each fact with its verdict, how many comparisons hold, and those that do not."""
    lines = []
    for fact in facts:
        held = sum(item.holds for item in fact.items)
        lines.append(f"({fact.letter}) {fact.verdict:<8} {fact.claim} ({held} of {len(fact.items)})")
        lines += [f"      x {item.text}" for item in fact.items if not item.holds]
    return "\n".join(lines)
