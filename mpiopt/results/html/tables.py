"""The tables of a report."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from mpiopt.results.compare import MEASURES, costs, levels, ratio, written
from mpiopt.results.ending import ending_of
from mpiopt.results.html.groups import RunGroup, differing, settings
from mpiopt.results.html.html import Cell, Markup, Number, paragraph, table, tag
from mpiopt.results.rate import METHOD, Rate, rate
from mpiopt.results.run_record import RunRecord

NONE = "–"


def status(record: RunRecord) -> str:
    """Return how a run ended, in words."""
    if not record.finished:
        return "not finished"
    return ending_of(record.provenance).state


def summary(records: Sequence[RunRecord], names: Sequence[str]) -> Markup:
    """Return a table of the runs: how each ended and what it cost."""
    heads = ["run", "end", "certificate", "objective", *MEASURES.values(), "rate per epoch", "ranks", "algorithm"]
    rows: list[list[Cell]] = []
    for record, name in zip(records, names, strict=True):
        last = record.history[-1]
        found = rate(record.history["epoch"], record.history["certificate"])
        rows.append(
            [
                name,
                tag("span", status(record), css="holds" if status(record) == "certified" else "failed"),
                Number(float(last["certificate"]), f"{last['certificate']:.3e}"),
                Number(float(last["objective"]), f"{last['objective']:.15g}"),
                *(Number(float(last[m]), written(m, float(last[m]))) for m in MEASURES),
                rate_text(found),
                Number(float(record.provenance.get("ranks", 0)), str(record.provenance.get("ranks", ""))),
                record.settings.get("algorithm", ""),
            ]
        )
    how = paragraph(f"The rate is the factor by which the certificate shrinks in an epoch: {METHOD}.", css="note")
    return Markup(table(heads, rows, identity="summary") + how)


def rate_text(found: Rate | None) -> Cell:
    """Return the rate with its interval."""
    if found is None:
        return NONE
    return Number(found.factor, f"{found.factor:.3g} ({found.low:.3g} … {found.high:.3g}), {found.points} points")


def milestones(records: Sequence[RunRecord], names: Sequence[str]) -> Markup:
    """Return a table for each level: the costs until then, with ratios to the first run that reached it."""
    parts = []
    for level in levels([r.history for r in records], max(r.tol for r in records)):
        found = [costs(r.history, level) for r in records]
        first = next(filter(None, found), {})
        rows: list[list[Cell]] = []
        for name, mine in zip(names, found, strict=True):
            cells: list[Cell] = []
            for m in MEASURES:
                cells += (
                    [NONE, ""] if mine is None else [Number(mine[m], written(m, mine[m])), ratio(mine[m], first[m])]
                )
            rows.append([name, *cells])
        heads = ["run", *(word for name in MEASURES.values() for word in (name, ""))]
        if len(records) == 1:
            heads, rows = [h for h in heads if h], [[row[0], *row[1::2]] for row in rows]
        parts += [tag("h3", f"to {records[0].kind} {level:g}"), table(heads, rows, identity=f"to-{level:g}")]
    return Markup("".join(parts))


def ranking(groups: Sequence[RunGroup], level: float, identity: str = "ranking") -> Markup:
    """Return a table of the groups: the median of each cost, and its range over the seeds."""
    best = {m: min((median(c) for g in groups if (c := g.costs(m, level))), default=0.0) for m in MEASURES}
    rows: list[list[Cell]] = []
    for place, group in enumerate(groups, 1):
        cells: list[Cell] = []
        for m in MEASURES:
            spent = group.costs(m, level)
            cells.append(spread(m, spent, best[m]) if spent else NONE)
        reached = f"{len(group.costs('round', level))} of {len(group.records)}"
        rows.append([str(place), group.name, reached, *cells])
    return table(["", "setting", "runs that reached it", *MEASURES.values()], rows, identity=identity)


def spread(measure: str, spent: Sequence[float], best: float) -> Cell:
    """Return the median, bold if it is the best of all groups, and the range if the seeds differ."""
    middle = median(spent)
    low, high = written(measure, min(spent)), written(measure, max(spent))
    around = f" ({low} … {high})" if min(spent) < max(spent) else ""
    number = Number(middle, written(measure, middle))
    return tag("span", tag("span", number, css="best" if middle == best else ""), around)


def differences(records: Sequence[RunRecord], names: Sequence[str]) -> Markup | None:
    """Return a table of the settings in which the runs differ; None if there are none."""
    keys = differing(records)
    if not keys:
        return None
    found = [settings(r) for r in records]
    rows = [[name, *(one.get(key, "") for key in keys)] for name, one in zip(names, found, strict=True)]
    return table(["run", *keys], rows, identity="differences")


def events(records: Sequence[RunRecord], names: Sequence[str]) -> Markup | None:
    """Return a table of the events; None without any."""
    rows: list[list[Cell]] = [
        [
            name,
            Number(e.seconds, f"{e.seconds:.3f}"),
            str(e.round),
            e.kind,
            "all" if e.rank < 0 else str(e.rank),
            e.text,
        ]
        for record, name in zip(records, names, strict=True)
        for e in record.events
    ]
    return table(["run", "seconds", "round", "event", "rank", ""], rows, identity="events") if rows else None


def test_metrics(records: Sequence[RunRecord], names: Sequence[str]) -> Markup | None:
    """Return a table of the metrics on test rows; None without any."""
    keys = list(dict.fromkeys(key for r in records for key in r.test))
    if not keys:
        return None
    rows: list[list[Cell]] = [
        [name, *(Number(r.test[k], f"{r.test[k]:.6g}") if k in r.test else NONE for k in keys)]
        for r, name in zip(records, names, strict=True)
    ]
    return table(["run", *keys], rows, identity="test")
