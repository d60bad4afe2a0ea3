"""The picture of a study: suboptimality over rounds, a panel for each kind of shards and each H."""

from __future__ import annotations

from mpiopt.study.drawing import load_pyplot
from mpiopt.study.saga_facts.cell import Outcome
from mpiopt.study.saga_facts.facts import Outcomes
from mpiopt.study.saga_facts.grid import METHODS, SHARDS

STEPS = ("n/4", "n")


def draw(found: Outcomes, path: str) -> None:
    """Draw the methods on the largest number of ranks with H = n/4 and H = n.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    ranks = max(found.ranks, default=1)
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), sharey=True, layout="constrained")
    for axes, (shards, steps) in zip(panels.flat, [(s, h) for s in SHARDS for h in STEPS], strict=True):
        for i, method in enumerate(METHODS):
            outcome = found.at(shards, ranks, steps, method)
            if outcome is not None:
                curve(axes, outcome, f"C{i}")
        axes.set(title=f"{shards} shards, {ranks} ranks, H = {steps}", xlabel="rounds", ylim=(1e-9, 3))
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("(F − F*) / (F(0) − F*)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if handles:
        panels[0, 0].legend(handles, labels, fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def curve(axes: object, outcome: Outcome, color: str) -> None:
    """Draw one run."""
    points = [p for p in outcome.trace if p.gap > 0.0]
    axes.semilogy(  # type: ignore[attr-defined]
        [p.rounds for p in points], [p.gap for p in points], color=color, label=outcome.cell.method, linewidth=1.3
    )
