"""The part of a report about paths: coefficients, nonzeros and scores of the folds over the strength."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiopt.results.html.charts import AUTO, Chart, Curve, short
from mpiopt.results.html.document import Page
from mpiopt.results.html.html import Cell, paragraph, section
from mpiopt.results.path_table import PathTable
from mpiopt.results.run_record import RunRecord

MOST_LINES = 12  # coefficients in a chart
DARK = 6  # the series with the colour of text
STRENGTH = "strength λ of the penalty"


def about_paths(made: Page, records: Sequence[RunRecord], shown: Sequence[str]) -> list[Cell]:
    """Return a section for each run that is a path."""
    sections: list[Cell] = []
    for name, record in zip(shown, records, strict=True):
        if record.points is not None:
            title = "The path" if len(records) == 1 else f"The path {name}"
            sections.append(about_path(made, record, record.points, title))
    return sections


def about_path(made: Page, record: RunRecord, points: PathTable, title: str) -> Cell:
    """Return the section about a path."""
    certified = int(points.certified.sum())
    words = f"{len(points.strength)} points, {certified} certified. "
    words += f"The model is that of the strength {points.strength[points.chosen]:.4g}: "
    words += f"{points.nonzeros[points.chosen]} nonzeros, {reason(points)}."
    charts = [nonzeros(points), *([scores(points)] if points.score else [])]
    pictures = [made.chart(coefficients(record, points)), made.grid([chart for chart in charts if not chart.empty])]
    return section(title, paragraph(words, css="note"), *pictures)


def reason(points: PathTable) -> str:
    """Return why a point was chosen."""
    if not points.score:
        return "the last point"
    if points.chosen == points.best:
        return f"the best {points.score} of the folds"
    if points.chosen == points.simplest:
        return f"the strongest penalty within one standard error of the best {points.score} of the folds"
    return "the last point"


def coefficients(record: RunRecord, points: PathTable) -> Chart:
    """Return the coefficients that are the largest somewhere, in units of the file, over the strength."""
    outputs, columns = points.coef.shape[1:]
    size = np.abs(points.coef).max(axis=0, initial=0.0).ravel()
    largest = np.argsort(-size, kind="stable")[:MOST_LINES]
    names = None if record.model is None else record.model.feature_names
    lines = []
    for series, place in enumerate(largest.tolist()):
        output, column = divmod(place, columns)
        number = int(points.columns[column])
        name = names[number] if names else f"x{number + 1}"
        name = name if outputs == 1 else f"{name}, class {output + 1}"
        values = points.coef[:, output, column].tolist()
        lines.append(Curve(name, short(points.strength.tolist()), short(values), series, "lines", AUTO))
    some = f", the {len(largest)} largest of {columns * outputs} that are not 0" if columns else ""
    return Chart(
        f"coefficients over the strength{some}",
        *(STRENGTH, "coefficient, units of the file", [_line_at(points, lines), *lines]),
        xaxis="log",
        yaxis="linear",
        legend=True,
    )


def nonzeros(points: PathTable) -> Chart:
    """Return the number of columns with a coefficient that is not 0 over the strength."""
    line = Curve("nonzeros", short(points.strength.tolist()), points.nonzeros.astype(float).tolist(), 0)
    parts = [_line_at(points, [line]), line]
    return Chart("nonzeros over the strength", STRENGTH, "nonzeros", parts, xaxis="log", yaxis="linear")


def scores(points: PathTable) -> Chart:
    """Return the mean score of the folds over the strength, with one standard error to both sides."""
    mean, x = points.mean, short(points.strength.tolist())
    lines = [
        Curve(f"{points.score}, mean of the folds", x, short(mean.tolist()), 0),
        Curve("one standard error less", x, short((mean - points.error).tolist()), 1, "lines", "dot"),
        Curve("one standard error more", x, short((mean + points.error).tolist()), 1, "lines", "dot"),
    ]
    for k, words in ((points.best, "best"), (points.simplest, "within one standard error")):
        at = short([float(points.strength[k])]), short([float(mean[k])])
        lines.append(Curve(words, *at, 0, "markers", texts=[f"{words}: point {k}, {points.score} {mean[k]:.6g}"]))
    title = f"{points.score} of the folds over the strength, with its standard error"
    return Chart(title, STRENGTH, points.score, lines, xaxis="log", yaxis="linear")


def _line_at(points: PathTable, lines: Sequence[Curve]) -> Curve:
    """Return a line where the chosen point is."""
    values = [y for line in lines for y in line.y if y is not None] or [0.0]
    at = float(points.strength[points.chosen])
    return Curve("the chosen strength", [at, at], [min(values), max(values)], DARK, "lines", "dash")
