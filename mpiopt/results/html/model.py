"""The part of a report about the models: coefficients, ROC curves, calibration, residuals, confusions."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mpiopt.objective.diagnostics import Diagnostics, Table
from mpiopt.results.coefficients import CoefficientsShown, coefficient_rows
from mpiopt.results.html.charts import AUTO, Bars, Chart, Curve, short
from mpiopt.results.html.document import Page
from mpiopt.results.html.html import Cell, Markup, Number, folded, paragraph, section, table, tag, text
from mpiopt.results.model import FittedModel, class_names
from mpiopt.results.run_record import RunRecord

MOST_BARS = 20  # coefficients in a chart and a table
MOST_RUNS = 8  # runs whose coefficients stand side by side, and whose curves share a chart
CHANCE = "chance, or a perfect calibration"


class Interval(NamedTuple):
    """An interval of a coefficient."""

    low: float
    high: float


Intervals = Mapping[str, Interval]  # by the name of the coefficient


class SummaryShown(NamedTuple):
    """What a page shows of a summary: the intervals, and its text if that is at hand."""

    intervals: Intervals
    text: str = ""


def read_summary(path: str) -> SummaryShown:
    """Read the intervals from a table that `mpiopt summary --out FILE.csv` wrote.

    Raises
    ------
    ValueError
        If the file is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return SummaryShown({row["name"]: Interval(float(row["lower"]), float(row["upper"])) for row in rows})
    except (KeyError, TypeError, ValueError, csv.Error):
        raise ValueError(f"{path}: no table of mpiopt summary --out FILE.csv") from None


def about_models(
    made: Page, records: Sequence[RunRecord], shown: Sequence[str], summary: SummaryShown | None = None
) -> list[Cell]:
    """Return the sections about the models; none for runs that have not ended."""
    found = [(name, i, r) for i, (name, r) in enumerate(zip(shown, records, strict=True)) if r.model is not None]
    sections: list[Cell] = []
    parts = coefficients(made, found[:MOST_RUNS], {} if summary is None else summary.intervals)
    if summary is not None and summary.text:
        parts.append(folded("summary", text(summary.text)))
    if parts:
        sections.append(section("The models", *parts))
    drawn = [(name, i, r) for name, i, r in found if r.diagnostics is not None][:MOST_RUNS]
    drawings = (roc(drawn), calibration(drawn), lift(drawn), residuals(drawn), spread(drawn))
    charts = [chart for chart in drawings if chart.parts]
    tables = [confusions(name, r) for name, _, r in drawn]
    if charts or any(tables):
        where = dict.fromkeys(r.diagnostics.rows for _, _, r in drawn if r.diagnostics is not None)
        note = paragraph(f"On {', '.join(where)}.", css="note")
        pictures = [made.grid(charts)] if charts else []
        sections.append(section("How well they predict", note, *pictures, *filter(None, tables)))
    return sections


Found = Sequence[tuple[str, int, RunRecord]]  # name, number of the series, run


def coefficients(made: Page, found: Found, intervals: Intervals) -> list[Cell]:
    """Return the largest coefficients: a chart for one model with one output, and a table of all models."""
    parts: list[Cell] = []
    models = [(name, r.model) for name, _, r in found if r.model is not None]
    if len(models) == 1 and len(models[0][1].coef) == 1:
        parts.append(_bars(made, models[0][1], intervals))
    if len(models) > 1 and _are_alike([model for _, model in models]):
        return [_side_by_side(models)]
    for name, model in models:
        known = _named(model)
        shown = coefficient_rows(known, CoefficientsShown(coefficients=MOST_BARS))
        if shown.rows:
            rows = [_cells(row[0], row[1:]) for row in shown.rows]
            told = table(shown.heads, rows, identity=f"coefficients-{name}")
            title = f"{name}: {shown.title}" if len(models) > 1 else shown.title
            parts.append(folded(title, told))
    return parts


def _cells(name: str, values: Sequence[str]) -> list[Cell]:
    return [name, *(Number(float(value), value) for value in values)]


def _named(model: FittedModel) -> FittedModel:
    """Return the model with names of its columns: those that `mpiopt summary` gives if it has none."""
    if model.feature_names:
        return model
    return replace(model, feature_names=[f"x{place + 1}" for place in range(model.coef.shape[1])])


def _are_alike(models: Sequence[FittedModel]) -> bool:
    """Return whether the models have one output each, and the same columns."""
    names = [_named(model).feature_names for model in models]
    return all(len(model.coef) == 1 for model in models) and all(one == names[0] for one in names)


def _side_by_side(models: Sequence[tuple[str, FittedModel]]) -> Markup:
    names = _named(models[0][1]).feature_names or []
    size = np.max([np.abs(model.coef[0]) for _, model in models], axis=0)
    largest = np.argsort(-size, kind="stable")[:MOST_BARS].tolist()
    rows = [_cells(names[i], [f"{model.coef[0, i]:.6g}" for _, model in models]) for i in largest]
    rows.append(_cells("(intercept)", [f"{model.intercept[0]:.6g}" for _, model in models]))
    title = f"coefficients in units of the file, the {len(largest)} largest of {len(size)}"
    return folded(title, table(["feature", *(name for name, _ in models)], rows, identity="coefficients"))


def _bars(made: Page, model: FittedModel, intervals: Intervals) -> Markup:
    size = np.abs(model.coef[0])
    largest = np.argsort(-size, kind="stable")[:MOST_BARS]
    largest = largest[size[largest] > 0.0]
    if not len(largest):
        return paragraph("All coefficients are 0.", css="note")
    names = _named(model).feature_names or []
    chosen = [names[i] for i in largest]
    known = [intervals[name] for name in chosen if name in intervals]
    ends = [short([one.low for one in known]), short([one.high for one in known])]
    ends = ends if len(known) == len(chosen) else [[], []]
    bars = Bars("coefficient", chosen, short(model.coef[0, largest].tolist()), 0, *ends)
    title = f"coefficients in units of the file, the {len(largest)} largest of {len(size)}"
    title += ", with their intervals" if ends[0] else ""
    figure = made.chart(Chart(title, "coefficient", "", [bars]))
    return Markup(figure.replace('class="chart"', f'class="chart" style="height:{90 + 24 * len(largest)}px"'))


def roc(found: Found) -> Chart:
    """Return the ROC curves of runs with two classes, with their areas."""
    parts = []
    for name, series, record in found:
        scores = record.diagnostics.scores if record.diagnostics is not None else None
        if scores is None:
            continue
        false, true = roc_points(scores)
        area = float(np.trapezoid(true, false))
        parts.append(
            Curve(f"{name}: area {area:.3f}", short(false.tolist()), short(true.tolist()), series, "lines", AUTO)
        )
    title = "ROC" + (f", area {parts[0].name.rpartition(' ')[2]}" if len(parts) == 1 else "")
    return Chart(title, "false positives", "true positives", _with_diagonal(parts, 0.0, 1.0), yaxis="linear")


def roc_points(scores: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of false and true positives, from the largest margin to the smallest."""
    rates = []
    for side in ("negative", "positive"):
        reached = np.concatenate([[0.0], np.cumsum(scores[side][::-1])])
        rates.append(reached / max(reached[-1], 1e-300))
    return rates[0], rates[1]


def calibration(found: Found) -> Chart:
    """Return what was observed over what was predicted: shares of a class, or means of numbers."""
    parts: list[Curve] = []
    low, high = math.inf, -math.inf
    for name, series, record in found:
        points = None if record.diagnostics is None else calibration_points(record)
        if points is None:
            continue
        predicted, observed = points
        low, high = min(low, float(predicted.min())), max(high, float(predicted.max()))
        parts.append(Curve(name, short(predicted.tolist()), short(observed.tolist()), series, "lines+markers", AUTO))
    words = ("predicted", "observed")
    return Chart("calibration", *words, _with_diagonal(parts, low, high), yaxis="linear")


GROUPS = 20  # points of a calibration curve of two classes


def calibration_points(record: RunRecord) -> tuple[np.ndarray, np.ndarray] | None:
    """Return predictions and what was observed, by groups of equally many rows; None without probabilities."""
    found = record.diagnostics
    if found is None:
        return None
    if found.means is not None and len(found.means):
        return found.means["predicted"], found.means["observed"]
    if found.scores is None or not np.isfinite(found.scores["probability"]).all():
        return None
    weight = found.scores["positive"] + found.scores["negative"]
    place = np.minimum((np.cumsum(weight) - 0.5 * weight) * GROUPS // weight.sum(), GROUPS - 1).astype(int)
    parts = (weight, weight * found.scores["probability"], found.scores["positive"])
    whole, chance, positive = (np.bincount(place, part, GROUPS) for part in parts)
    kept = whole > 0.0
    return chance[kept] / whole[kept], positive[kept] / whole[kept]


def _with_diagonal(parts: Sequence[Curve], low: float, high: float) -> list[Curve]:
    return [Curve(CHANCE, [low, high], [low, high], -1, "lines"), *parts] if parts else []


def lift(found: Found) -> Chart:
    """Return how much larger than the mean the target is in the rows with the largest predictions."""
    parts = []
    for name, series, record in found:
        points = None if record.diagnostics is None else lift_points(record.diagnostics)
        if points is not None:
            share, factor = points
            parts.append(Curve(name, short(share.tolist()), short(factor.tolist()), series, "lines", AUTO))
    words = ("share of the rows, largest predictions first", "mean target / mean of all")
    same = [Curve(CHANCE, [0.0, 1.0], [1.0, 1.0], -1, "lines")] if parts else []
    return Chart("lift", *words, [*same, *parts], yaxis="linear")


def lift_points(found: Diagnostics) -> tuple[np.ndarray, np.ndarray] | None:
    """Return shares of the rows, and their lift; None for numbers below 0, and without a row that counts."""
    if found.scores is not None:
        weight, sums = found.scores["positive"] + found.scores["negative"], found.scores["positive"]
    elif found.means is not None and (found.means["observed"] >= 0.0).all():
        weight, sums = found.means["weight"], found.means["weight"] * found.means["observed"]
    else:
        return None
    reached, so_far = np.cumsum(weight[::-1]), np.cumsum(sums[::-1])
    if not (len(reached) and so_far[-1] > 0.0):
        return None
    return reached / reached[-1], so_far / reached * (reached[-1] / so_far[-1])


def residuals(found: Found) -> Chart:
    """Return the distribution of target - expectation, for numbers."""
    parts = []
    for name, series, record in found:
        rows = record.diagnostics.residuals if record.diagnostics is not None else None
        if rows is not None and rows["weight"].any():
            middle, share = (rows["low"] + rows["high"]) / 2.0, rows["weight"] / rows["weight"].sum()
            parts.append(Curve(name, short(middle.tolist()), short(share.tolist()), series, "lines", AUTO))
    return Chart("residuals", "target − prediction", "share of the rows", parts, yaxis="linear")


def spread(found: Found) -> Chart:
    """Return the size of the residuals over the predictions, for numbers."""
    parts = []
    for name, series, record in found:
        means = record.diagnostics.means if record.diagnostics is not None else None
        if means is not None and len(means):
            x, y = means["predicted"].tolist(), means["residual"].tolist()
            parts.append(Curve(name, short(x), short(y), series, "lines+markers", AUTO))
    return Chart("size of the residuals", "predicted", "root mean square", parts, yaxis="linear")


def confusions(name: str, record: RunRecord) -> Markup | None:
    """Return a table of the classes against the predicted classes; None for other losses."""
    found = record.diagnostics.confusion if record.diagnostics is not None else None
    if found is None or record.model is None or record.model.classes is None:
        return None
    classes = [str(label) for label in class_names(record.model.classes).tolist()]
    rows: list[list[Cell]] = []
    for label, row in zip(classes, found, strict=True):
        whole = max(float(row.sum()), 1e-300)
        cells: list[Cell] = [Number(float(v), f"{100 * v / whole:.3g} %" if v else "–") for v in row]
        cells = [tag("b", cell) if other == label else cell for cell, other in zip(cells, classes, strict=True)]
        rows.append([label, *cells])
    told = table(["class", *(f"as {label}" for label in classes)], rows, identity=f"confusion-{name}")
    return Markup(tag("h3", f"{name}: rows of each class by the class that is predicted") + told)
