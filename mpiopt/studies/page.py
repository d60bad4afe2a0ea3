"""The page of a study: what the paper claims, what we found, the verdicts, what was corrected or is not known."""

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

SHOWN = 6  # comparisons of a fact; more are folded
CSS = {"holds": "holds", "partly": "partly", "FAILS": "fails"}


@dataclass(frozen=True)
class Story:
    """What a study's page says besides the facts that were judged."""

    title: str
    paper: str  # where it is from
    claim: str  # the paper's, in our words
    question: str
    corrected: Sequence[str]  # against the paper, its code, or what we took from them
    unknown: Sequence[str]  # what could not be recovered or explained
    charts: Sequence[Chart] = ()
    tables: Sequence[tuple[str, str]] = ()  # title and aligned text


def write(out: str, tree: Mapping[str, Any], story: Story) -> list[str]:
    """Write OUT.html; give its name, or what is missing for it.

    Raises
    ------
    OSError
        Where it can not be written.
    """
    try:
        image = page(tree, story).text().encode()
    except ValueError as error:
        return [f"no page: {error}"]
    write_whole(Path(f"{out}.html"), image)
    return [f"{out}.html"]


def page(tree: Mapping[str, Any], story: Story) -> Page:
    """Give the page; `tree` is what OUT.json holds, with its `facts`."""
    made = Page(story.title)
    facts = tree.get("facts", [])
    made.add(paragraph(story.paper, css="note"), paragraph(f"The paper claims: {story.claim}"))
    made.add(paragraph(story.question), paragraph(tag("strong", counted(facts))))
    made.add(section("Claims, figures, verdicts", verdicts(facts)))
    if story.charts:
        made.add(section("Curves", legend(story.charts), made.grid(story.charts)))
    for title, points in (("What was corrected", story.corrected), ("What is not known", story.unknown)):
        if points:
            made.add(section(title, tag("ul", *(tag("li", point) for point in points))))
    if story.tables:
        made.add(section("Tables", *(folded(title, text(words)) for title, words in story.tables)))
    made.add(section("Job", folded("all its keys", text(json.dumps(tree.get("job", {}), indent=1)))))
    return made


def counted(facts: Sequence[Mapping[str, Any]]) -> str:
    """Say how many claims hold."""
    judged = [fact["verdict"] for fact in facts if fact["verdict"] != "not run"]
    return f"{judged.count('holds')} of {len(judged)} claims hold, {judged.count('partly')} in part."


def verdicts(facts: Sequence[Mapping[str, Any]]) -> Markup:
    """Give a line for each claim."""
    rows: list[list[Cell]] = [
        [fact["claim"], tag("span", fact["verdict"], css=CSS.get(fact["verdict"], "")), figures(fact["items"])]
        for fact in facts
    ]
    made = table(["claim", "verdict", "our figure"], rows, identity="facts")
    return Markup(made.replace("<td>", '<td class="long">'))


def figures(items: Sequence[Sequence[Any]]) -> Markup:
    """Give the comparisons that a verdict rests on, those that do not hold first."""
    failed = [tag("li", f"✗ {words}", css="failed") for holds, words in items if not holds]
    held = [tag("li", words) for holds, words in items if holds]
    if len(items) <= SHOWN:
        return tag("ul", *failed, *held)
    rest = folded(f"{len(held)} of {len(items)} comparisons hold", tag("ul", *held))
    return Markup((tag("ul", *failed) if failed else "") + rest)


def legend(charts: Sequence[Chart]) -> Markup:
    """Give the names of all curves with their colours."""
    from mpiopt.results.html.report import entry

    found = {part.name: part.series for chart in charts for part in chart.parts if part.series >= 0}
    return Markup(f'<ul class="legend">{"".join(entry(name, series) for name, series in found.items())}</ul>')
