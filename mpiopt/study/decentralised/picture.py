"""The picture of the study: suboptimality over messages and over epochs, a row for each spread of one graph."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.study.decentralised.cell import Outcome
from mpiopt.study.drawing import load_pyplot


def draw(found: Sequence[Outcome], path: str) -> None:
    """Draw the algorithms on the graph that has most cells.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    groups: dict[tuple[int, str], list[Outcome]] = {}
    for o in found:
        if not o.refused:
            groups.setdefault((o.cell.ranks, o.cell.topology), []).append(o)
    (ranks, topology), chosen = max(groups.items(), key=lambda item: len(item[1]))
    spreads = sorted({o.cell.spread for o in chosen})
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in found))
    figure, panels = pyplot.subplots(
        len(spreads), 2, figsize=(10, 3.6 * len(spreads)), sharey=True, layout="constrained", squeeze=False
    )
    for row, spread in zip(panels, spreads, strict=True):
        for o in (o for o in chosen if o.cell.spread == spread):
            number = algorithms.index(o.cell.algorithm)
            style = {"color": f"C{number}", "ls": ("-", "--")[number % 2], "label": o.cell.algorithm, "lw": 1.3}
            gaps = [max(gap, 1e-16) for gap in o.gaps]
            row[0].loglog([max(1, r * o.edges) for r in o.rounds], gaps, **style)
            row[1].loglog([max(0.1, e) for e in o.epochs], gaps, **style)
        for axes, label in zip(row, ("messages over all edges", "epochs"), strict=True):
            axes.set(title=f"L_max/L_min = {spread:g}", xlabel=label, ylim=(1e-10, 10))
            axes.grid(alpha=0.3)
        row[0].set_ylabel("(F − F*)/(F(0) − F*), worst rank")
    panels[0, 0].legend(fontsize="small")
    figure.suptitle(f"{ranks} ranks, {topology}")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
