"""The picture of the study: suboptimality over iterations, a panel for each spread of one graph."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.study.drawing import load_pyplot
from mpiopt.study.stepsize.simulation import Outcome


def draw(found: Sequence[Outcome], path: str) -> None:
    """Draw the methods on the graph that has most cells.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    chosen = largest(found)
    spreads = sorted({o.cell.spread for o in chosen})
    methods = list(dict.fromkeys(o.cell.method for o in chosen))
    figure, panels = pyplot.subplots(
        1, len(spreads), figsize=(4 * len(spreads), 4), sharey=True, layout="constrained", squeeze=False
    )
    for axes, spread in zip(panels.flat, spreads, strict=True):
        for o in chosen:
            if o.cell.spread == spread:
                shown = [max(gap, 1e-16) for gap in o.gaps[:400]]
                axes.semilogy(shown, color=f"C{methods.index(o.cell.method)}", label=o.cell.method, linewidth=1.3)
        axes.set(title=f"L_max/L_min = {spread:g}", xlabel="iterations", ylim=(1e-10, 1e3))
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("(F − F*) / (F(0) − F*)")
    panels[0, 0].legend(fontsize="small")
    cell = chosen[0].cell
    figure.suptitle(f"{cell.ranks} ranks, {cell.topology}, {cell.coordinator}")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def largest(found: Sequence[Outcome]) -> list[Outcome]:
    """Give the outcomes of the graph, coordinator and form with most of them."""
    groups: dict[tuple[object, ...], list[Outcome]] = {}
    for o in found:
        groups.setdefault((o.cell.ranks, o.cell.topology, o.cell.coordinator, o.cell.form), []).append(o)
    return max(groups.values(), key=len)
