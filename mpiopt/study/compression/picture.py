"""The curves of every panel, with the predictions as thin lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiopt.study.compression.cells import Cell
from mpiopt.study.compression.panel import COLUMNS
from mpiopt.study.drawing import load_pyplot


def draw(cells: Sequence[Cell], path: str) -> None:
    """Draw the excess risk over the steps, a panel for each experiment and memory.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    panels = list(dict.fromkeys((c.panel, c.memory) for c in cells))
    rows = -(-len(panels) // 3)
    figure, grid = pyplot.subplots(rows, 3, figsize=(15, 4 * rows), layout="constrained", squeeze=False)
    for axes, (panel, memory) in zip(grid.flat, panels, strict=False):
        for c in cells:
            if (c.panel, c.memory) == (panel, memory):
                color = f"C{COLUMNS.index(c.method)}"
                axes.loglog(c.marks, np.mean(c.curves, axis=0), color=color, label=c.method, linewidth=1.3)
                axes.loglog(c.marks, c.grown, color=color, linewidth=0.7, linestyle="--")
        axes.set_title(panel.name + (" with memory" if memory != "none" else ""), fontsize="medium")
        axes.grid(alpha=0.3)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel("steps")
    for axes in grid[:, 0]:
        axes.set_ylabel("excess risk of w̄ (dashed: predicted)")
    grid[0, 0].legend(fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
