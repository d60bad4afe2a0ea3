"""What a study prints: epochs and rounds of every cell, the fitted rates, the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.study.files import aligned
from mpiopt.study.saga_facts.cell import Outcome
from mpiopt.study.saga_facts.facts import Outcomes, shown
from mpiopt.study.saga_facts.grid import METHODS, Study
from mpiopt.study.verdicts import Fact

# Epochs / rounds of B that the reconstruction was measured with before this program existed (numpy and numba, one
# process): N = 8192, d = 32, l2 = 1/N, the same data, other random orders. "fails": not within 60 epochs.
STEPS = ("1", "10", "n/4", "n", "4n")
REFERENCE = {
    ("shuffled", 1): ("15.0", "15.0", "15.0", "15.0", "16.0"),
    ("shuffled", 4): ("14.5/29696", "13.5/2765", "14.5/58", "31/31", "fails"),
    ("shuffled", 16): ("13.0/6656", "14.5/743", "18.5/74", "34/34", "fails"),
    ("shuffled", 64): ("30.2/3872", "28.8/368", "23.5/94", "47/47", "fails"),
    ("sorted-by-label", 4): ("14.5", "13.0", "22.2", "41", "fails"),
    ("sorted-by-label", 16): ("13.2", "14.5", "32.2", "fails 2e-08", "fails"),
    ("sorted-by-label", 64): ("30.2", "24.5", "52.5", "fails", "fails"),
}
RATED = ("B", "refresh", "chosen", "metric")


def epochs_table(found: Outcomes, study: Study) -> str:
    """Give one line for each place of the grid, one column for each method: epochs/rounds or the gap at the end."""
    methods = [m for m in METHODS if any(cell.method == m for cell in found.by_cell)]
    lines = [["shards", "K", "n", "H", "reference B", *methods]]
    for shards, k, steps in dict.fromkeys(cell[:3] for cell in found.by_cell):
        cells = [found.at(shards, k, steps, m) for m in methods]
        reference = REFERENCE.get((shards, k), ())
        known = reference[STEPS.index(steps)] if reference and steps in STEPS else ""
        lines.append([shards, str(k), str(study.rows // k), steps, known, *(shown(o) if o else "" for o in cells)])
    return aligned(lines)


def rates_table(found: Outcomes) -> str:
    """Give the linear rates of B and of its cures: the line through ln gap over epochs, and the best step."""
    lines = [["shards", "K", "H", "method", "slope per epoch", "std err", "R²", "step, 1/(3L)", "epochs of repeats"]]
    for cell, o in found.by_cell.items():
        if cell.method in RATED:
            slope, error, r2 = o.rate
            step = f"{o.multiple:g}" if o.multiple else "chosen"
            spread = f"{o.spread[0]:.1f} … {o.spread[1]:.1f}" if o.reached else ""
            place = [cell.shards, str(cell.ranks), cell.local_steps, cell.method]
            lines.append([*place, f"{slope:.3f}", f"{error:.3f}", f"{r2:.3f}", step, spread])
    return aligned(lines)


def facts_text(facts: Sequence[Fact]) -> str:
    """Give each fact with its verdict and, below it, what it rests on."""
    lines = []
    for fact in facts:
        lines.append(f"({fact.letter}) {fact.verdict:<8} {fact.claim}")
        lines += [f"      {'  ' if item.holds else 'x '}{item.text}" for item in fact.items]
    return "\n".join(lines)


def one_line(o: Outcome, seconds: float) -> str:
    """Give the progress line of a cell."""
    c = o.cell
    return f"{c.shards} K={c.ranks} H={c.local_steps} {c.method}: {shown(o)}  ({seconds:.1f} s)"
