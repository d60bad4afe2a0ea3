"""The picture of the study: accuracy, gradients, the change at a kill beside the paper's; a row for each plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpiopt.study.drawing import load_pyplot
from mpiopt.study.failure import paper
from mpiopt.study.failure.facts import family
from mpiopt.study.failure.outcome import Outcome


def draw(found: Sequence[Outcome], path: str) -> None:
    """Draw the first seed with the fewest workers.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    workers, seed = min((o.cell.workers, o.cell.seed) for o in found)
    shown = [o for o in found if (o.cell.workers, o.cell.seed) == (workers, seed)]
    kills = sorted({o.cell.kills for o in shown})
    figure, panels = pyplot.subplots(len(kills), 3, figsize=(14, 4 * len(kills)), layout="constrained", squeeze=False)
    for row, number in zip(panels, kills, strict=True):
        here = [o for o in shown if o.cell.kills == number]
        over_time(row[0], row[1], here)
        beside_the_paper(row[2], here)
        row[0].set_title(f"deaths: {number}, workers: {workers}, seed {seed}")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def over_time(accuracy: Any, gradients: Any, here: Sequence[Outcome]) -> None:
    """Draw accuracies and gradients applied; deaths are grey lines."""
    for place, o in enumerate(here):
        label = short(o)
        accuracy.plot([j.seconds for j in o.judged], [j.accuracy for j in o.judged], color=f"C{place}", label=label)
        applied, sums = 0, []
        for u in o.updates:
            applied += u.gradients
            sums.append(applied)
        gradients.plot([u.seconds for u in o.updates], sums, color=f"C{place}", label=label)
        for axes in (accuracy, gradients):
            for kill in o.kills:
                axes.axvline(kill.seconds, color="0.8", linewidth=1)
    accuracy.set(xlabel="seconds", ylabel="accuracy")
    gradients.set(xlabel="seconds", ylabel="gradients applied")
    accuracy.legend(fontsize="small", loc="lower right")


def short(o: Outcome) -> str:
    """Name a configuration; a star for its options."""
    return family(o.cell) + ("*" if "[" in o.cell.configuration else "")


def beside_the_paper(axes: Any, here: Sequence[Outcome]) -> None:
    """Draw the change at each kill: bars are ours, crosses the paper's."""
    names = [short(o) for o in here]
    for place, o in enumerate(here):
        seen = paper.SEEN.get(o.cell.kills, {}).get(family(o.cell))
        for k, kill in enumerate(o.kills):
            axes.bar(place + 0.25 * k, kill.after - kill.before, 0.22, color=f"C{place}")
        for k, (before, after) in enumerate(seen.falls if seen else ()):
            axes.plot(place + 0.25 * k, after - before, "kx")
    axes.axhline(0.0, color="0.5", linewidth=1)
    axes.set_xticks(range(len(names)), names, rotation=20, fontsize="small")
    axes.set_ylabel("change of accuracy at a kill (x: the paper's)")
