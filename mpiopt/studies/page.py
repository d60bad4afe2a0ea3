"""The HTML page of a study: the paper's claim, the verdicts, the curves, what was corrected and what is unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpiopt.core.files import write_whole
from mpiopt.results.html.charts import Chart
from mpiopt.results.html.document import Page
from mpiopt.results.html.html import Cell, Markup, folded, paragraph, section, table, tag, text
from mpiopt.studies.verdicts import SURE

SHOWN = 6  # comparisons of a fact that are shown; a longer list is folded
SMALLEST_GAP, LARGEST_GAP = 1e-16, 1e3  # relative suboptimality that charts show: rounding, a run that is lost
HOW = (
    "A claim holds if every row of ours agrees with it, or if the 95 % interval of the share of rows that do, taken "
    f"as independent, lies above {100 * SURE:.0f} %; it fails if none does, or if the interval lies below 50 %."
)
CSS = {"holds": "holds", "partly": "partly", "FAILS": "fails"}


@dataclass(frozen=True)
class StudySummary:
    """What the page of a study says besides the facts that were judged."""

    title: str
    paper: str  # citation
    claim: str  # the paper's claim, in our words
    question: str
    corrected: Sequence[str]  # where this study differs from the paper or its code
    unknown: Sequence[str]  # what could not be recovered or explained
    charts: Sequence[Chart] = ()
    tables: Sequence[tuple[str, str]] = ()  # title and aligned text
    size: str = ""  # whether this is the paper's size or a reduced one
    symbols: Sequence[tuple[str, str]] = ()  # each symbol of the page and what it is

    @property
    def drawn(self) -> list[Chart]:
        """The charts in which there is anything to see."""
        return [chart for chart in self.charts if chart.parts]


def write(out: str, tree: Mapping[str, Any], summary: StudySummary) -> str:
    """Write OUT.html and return its name, or say what is missing for it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    try:
        image = page(tree, summary).text().encode()
    except ValueError as error:
        return f"no page: {error}"
    write_whole(Path(f"{out}.html"), image)
    return f"{out}.html"


def page(tree: Mapping[str, Any], summary: StudySummary) -> Page:
    """Return the page; `tree` is the content of OUT.json."""
    result = Page(summary.title)
    facts = tree.get("facts", [])
    result.add(paragraph(summary.paper, css="note"), paragraph(f"The paper claims: {summary.claim}"))
    result.add(paragraph(summary.question), paragraph(summary.size, css="note"))
    result.add(paragraph(tag("strong", counted(facts))))
    result.add(section("Claims, figures, verdicts", verdicts(facts)))
    if summary.drawn:
        result.add(section("Curves", legend(summary.drawn), result.grid(summary.drawn)))
    if summary.symbols:
        rows: list[list[Cell]] = [[symbol, meaning] for symbol, meaning in summary.symbols]
        shown = table(["symbol", "what it is"], rows, identity="symbols").replace("<td>", '<td class="long">')
        result.add(section("Symbols", Markup(shown)))
    for title, points in (("What was corrected", summary.corrected), ("What is not known", summary.unknown)):
        if points:
            result.add(section(title, tag("ul", *(tag("li", point) for point in points))))
    if summary.tables:
        result.add(section("Tables", *(folded(title, text(words)) for title, words in summary.tables)))
    result.add(section("Job", folded("all its keys", text(json.dumps(tree.get("job", {}), indent=1)))))
    return result


def counted(facts: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence that says how many claims hold."""
    judged = [fact["verdict"] for fact in facts if fact["verdict"] != "not run"]
    return f"{judged.count('holds')} of {len(judged)} claims hold, {judged.count('partly')} in part."


def verdicts(facts: Sequence[Mapping[str, Any]]) -> Markup:
    """Return a table with a row for each claim."""
    rows: list[list[Cell]] = [
        [
            fact["claim"],
            fact.get("source", ""),
            tag("span", fact["verdict"], css=CSS.get(fact["verdict"], "")),
            fact.get("counts", ""),
            figures(fact["items"]),
        ]
        for fact in facts
    ]
    result = table(["claim", "whose claim", "verdict", "rows that hold", "our figure"], rows, identity="facts")
    return Markup(result.replace("<td>", '<td class="long">') + paragraph(HOW, css="note"))


def figures(items: Sequence[Sequence[Any]]) -> Markup:
    """Return the comparisons of a fact as a list, those that do not hold first."""
    failed = [tag("li", f"✗ {words}", css="failed") for holds, words in items if not holds]
    held = [tag("li", words) for holds, words in items if holds]
    if len(items) <= SHOWN:
        return tag("ul", *failed, *held)
    rest = folded(f"{len(held)} of {len(items)} comparisons hold", tag("ul", *held))
    return Markup((tag("ul", *failed) if failed else "") + rest)


def visible(gaps: Sequence[float]) -> list[float]:
    """Return the gaps with NaN, which charts leave out, below rounding and where a run is lost."""
    return [gap if SMALLEST_GAP < gap < LARGEST_GAP else float("nan") for gap in gaps]


def legend(charts: Sequence[Chart]) -> Markup:
    """Return the names of all curves with their colours."""
    from mpiopt.results.html.report import entry

    colours = {part.name: part.series for chart in charts for part in chart.parts if part.series >= 0}
    return Markup(f'<ul class="legend">{"".join(entry(name, series) for name, series in colours.items())}</ul>')
