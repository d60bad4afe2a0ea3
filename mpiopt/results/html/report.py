"""The report about runs: what happened, which setting won, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mpiopt.core.durations import duration
from mpiopt.results import plot
from mpiopt.results.compare import MEASURES, warnings
from mpiopt.results.html import tables, times
from mpiopt.results.html.charts import AUTO, Chart, Curve, curve, short
from mpiopt.results.html.document import Page
from mpiopt.results.html.groups import RunGroup, deepest, grouped, ranked
from mpiopt.results.html.html import Cell, Markup, escape, folded, pairs, paragraph, section, tag, text
from mpiopt.results.html.model import SummaryShown, about_models, read_summary
from mpiopt.results.html.path import about_paths
from mpiopt.results.plot import positive
from mpiopt.results.run_record import RunRecord, names, with_history

AXES = ("round", "epoch", "seconds", "bytes_sent")
MOST_SMALL = 24  # small charts, one for each setting
OUTAGES = ("failed", "recovered", "resumed", "repaired")  # events that cost the run time
FEW = 8  # lines of a list or legend that is not folded


def page(
    paths: Sequence[str | Path], rank_by: str = "seconds", summary: str = "", known: SummaryShown | None = None
) -> Page:
    """Return the page.

    `rank_by` is the column of the history by which settings are ranked; `summary` is a table of `mpiopt summary`
    for one run, whose intervals the page shows, and `known` a summary that is at hand.

    Raises
    ------
    ValueError
        One line: a file is not a run, or has no evaluation.
    """
    records, shown = [with_history(path) for path in paths], names(paths)
    if summary and len(paths) > 1:
        raise ValueError("--summary has the intervals of one run; report one run with it")
    known = read_summary(summary) if summary else known
    groups = grouped(records, shown)
    made = Page(shown[0] if len(shown) == 1 else f"{len(shown)} runs, {len(groups)} settings")
    made.add(*(paragraph(note, css="failed") for note in warnings(records)))
    made.add(lead(records, shown), tables.summary(records, shown))
    made.add(*winners(groups, rank_by))
    different = tables.differences(records, shown)
    if different:
        made.add(section("What differs between the runs", different))
    if any(record.points is None for record in records):  # the history of a path has an objective for each point
        made.add(section("What it cost", tables.milestones(records, shown)))
        made.add(section("Convergence", legend(groups), convergence(made, groups)))
    made.add(*about_paths(made, records, shown))
    made.add(*about_models(made, records, shown, known))
    if len(groups) > 2 or (len(groups) > 1 and len(records) > len(groups)):
        made.add(small_multiples(made, groups, rank_by))
    made.add(*details(made, records, shown, groups))
    return made


def lead(records: Sequence[RunRecord], shown: Sequence[str]) -> Markup:
    """Return a sentence about what happened."""
    done = [tables.status(r) for r in records]
    if len(records) == 1:
        last = records[0].history[-1]
        return paragraph(
            f"{done[0].capitalize()}: {records[0].kind} {last['certificate']:.1e} after {last['round']} rounds, "
            f"{last['epoch']:.4g} epochs, {duration(float(last['seconds']))}."
        )
    counted = ", ".join(f"{done.count(word)} {word}" for word in dict.fromkeys(done))
    return paragraph(f"{len(records)} runs: {counted}.")


def winners(groups: Sequence[RunGroup], measure: str) -> list[Markup]:
    """Return the ranking of the settings of each objective: costs to a certificate of another one say nothing."""
    by_problem: dict[tuple[str, ...], list[RunGroup]] = {}
    for group in groups:
        by_problem.setdefault(group.problem, []).append(group)
    sections = []
    for number, mine in enumerate((mine for mine in by_problem.values() if len(mine) > 1), 1):
        level, by = deepest(mine), MEASURES[measure]
        note = f"Ranked by the median {by} to a certificate of {level:g}; in brackets the range over seeds."
        which = f" for {objective_in_words(mine[0])}" if len(by_problem) > 1 else ""
        identity = "ranking" if number == 1 else f"ranking-{number}"
        rows = tables.ranking(ranked(mine, measure, level), level, identity)
        sections.append(section(f"Which setting won{which}", paragraph(note, css="note"), rows))
    return sections


def objective_in_words(group: RunGroup) -> str:
    """Return what a group minimised, in a few words."""
    provenance = group.records[0].provenance
    parts = [str(provenance.get(key, "")) for key in ("data", "loss", "penalty")]
    return ", ".join(part for part in parts if part)


def legend(groups: Sequence[RunGroup]) -> Markup:
    """Return the names with their colours; a click hides a setting in all charts."""
    if len(groups) < 2:
        return Markup("")
    items = "".join(entry(g.name, i) for i, g in enumerate(groups))
    listed = Markup(f'<ul class="legend">{items}</ul>')
    return listed if len(groups) <= FEW else folded(f"{len(groups)} settings", listed)


def entry(name: str, series: int) -> str:
    """Return one name of a legend."""
    line = '<svg viewBox="0 0 28 8"><line x1="0" y1="4" x2="28" y2="4" stroke-width="2"/><path/></svg>'
    attributes = f'type="button" aria-pressed="true" data-series="{series}" data-dash="{AUTO}"'
    attributes += f' data-name="{escape(name)}"'
    return f"<li><button {attributes}>{line}{escape(name)}</button></li>"


def convergence(made: Page, groups: Sequence[RunGroup]) -> Markup:
    """Return charts of certificate and objective over rounds, epochs, seconds and bytes."""
    records = [r for g in groups for r in g.records]
    series = [(g.name, i) for i, g in enumerate(groups) for _ in g.records]
    charts = plot.convergence(records, series, AXES)
    over_seconds = charts[2 * AXES.index("seconds")]
    marked = [*over_seconds.parts, *(part for record in records for part in event_points(record))]
    charts[2 * AXES.index("seconds")] = replace(over_seconds, parts=marked)
    bands = outages(records)
    charts = [replace(chart, bands=bands) if chart.x == over_seconds.x else chart for chart in charts]
    charts = [chart for chart in charts if not chart.empty]
    switch = Markup('<label class="note"><input type="checkbox" id="logx"> logarithmic horizontal axes</label>')
    note = (
        paragraph(
            "Shaded: from the last evaluation before a failure or restart to the first one after it.", css="note"
        )
        if bands
        else ""
    )
    return Markup(switch + note + made.grid(charts))


def outages(records: Sequence[RunRecord]) -> list[tuple[float, float]]:
    """Return the seconds from the last evaluation before each failure or restart to the first one after it."""
    found = set()
    for record in records:
        seconds = record.history["seconds"]
        for event in record.events:
            after = int(np.searchsorted(seconds, event.seconds, side="right"))
            if event.kind in OUTAGES and 0 < after < len(seconds):
                found.add((float(seconds[after - 1]), float(seconds[after])))
    return sorted(found)


def event_points(record: RunRecord) -> Iterable[Curve]:
    """Yield the events as points on the certificate over seconds: those that cost time as red crosses."""
    for series, costly in ((0, True), (-1, False)):
        events = [event for event in record.events if (event.kind in OUTAGES) == costly]
        if events:
            at = [np.searchsorted(record.history["seconds"], e.seconds, side="right") - 1 for e in events]
            levels = record.history["certificate"][np.maximum(at, 0)]
            words = [f"{e.kind}: {e.text}" for e in events]
            seconds = short([e.seconds for e in events])
            yield Curve("events", seconds, short(levels.tolist()), series, "markers", texts=words)


def small_multiples(made: Page, groups: Sequence[RunGroup], measure: str) -> Markup:
    """Return a chart for each setting with all its seeds, and all other runs in grey."""
    level = deepest(groups)
    place = {g.name: i for i, g in enumerate(groups)}
    behind = [
        curve("others", r.history["epoch"], positive(r.history["certificate"]), -1) for g in groups for r in g.records
    ]
    charts = []
    for group in ranked(groups, measure, level)[:MOST_SMALL]:
        mine = [
            curve(group.name, r.history["epoch"], positive(r.history["certificate"]), place[group.name], AUTO)
            for r in group.records
        ]
        charts.append(Chart(group.name, "epochs", "certificate", [*behind, *mine], small="small"))
    more = f", the best {MOST_SMALL} of {len(groups)}" if len(groups) > MOST_SMALL else ""
    return section(f"Each setting by itself, the best first{more}", made.grid(charts, "many"))


def details(made: Page, records: Sequence[RunRecord], shown: Sequence[str], groups: Sequence[RunGroup]) -> list[Cell]:
    """Return time, step sizes, events, test metrics, jobs and provenance."""
    sections: list[Cell] = []
    bars = times.chart(records, shown)
    if bars:
        sentences = [
            f"{n}: {times.stragglers(r.time)}." for r, n in zip(records, shown, strict=True) if r.time is not None
        ]
        lines = tag("ul", *(tag("li", line) for line in sentences))
        picture = tall(made.chart(bars), len(bars.parts[0].labels))  # type: ignore[union-attr]
        told = lines if len(sentences) <= FEW else folded("rank by rank", lines)
        sections.append(section("Where the time went", told, picture))
    steps = [
        curve(g.name, r.history["seconds"], positive(r.history["step_size"]), i, AUTO)
        for i, g in enumerate(groups)
        for r in g.records
    ]
    of_steps = Chart("step size over seconds", "seconds", "step size", steps, bands=outages(records))
    if not of_steps.empty:
        sections.append(section("Step size", made.chart(of_steps)))
    for title, part in {
        "Algorithms, failures and recoveries": tables.events(records, shown),
        "Test rows": tables.test_metrics(records, shown),
    }.items():
        if part:
            sections.append(section(title, part))
    return [*sections, section("Jobs and provenance", *(origin(r, n) for r, n in zip(records, shown, strict=True)))]


def tall(figure: Markup, bars: int) -> Markup:
    """Return a chart of bars with the height that the bars need."""
    return Markup(figure.replace('class="chart"', f'class="chart" style="height:{120 + 24 * bars}px"'))


def origin(record: RunRecord, name: str) -> Markup:
    """Return the job of a run and its provenance."""
    provenance: list[tuple[Cell, Cell]] = [
        (key, str(value)) for key, value in sorted(record.provenance.items()) if str(value)
    ]
    return folded(name, pairs([("file", str(record.path)), *provenance]), text(record.job))
