"""One HTML file with everything in it: style, scripts, the drawing library and the values of the charts."""

from __future__ import annotations

import base64
import functools
import gzip
import html
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files

from mpiopt import __version__
from mpiopt.results.html.charts import Chart
from mpiopt.results.html.html import Cell, Markup, escape, tag


@dataclass
class Page:
    """A page: its parts in order, and the charts that they show."""

    title: str
    parts: list[Cell] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    def add(self, *parts: Cell) -> None:
        """Append parts."""
        self.parts.extend(parts)

    def chart(self, chart: Chart) -> Markup:
        """Return the element in which a chart will be drawn."""
        self.charts.append(chart)
        place = tag("div", css=f"chart {chart.small}".strip(), identity=f"chart-{len(self.charts) - 1}")
        return tag("figure", tag("figcaption", chart.title), place)

    def grid(self, charts: Iterable[Chart], css: str = "grid") -> Markup:
        """Return charts side by side, as many as the width allows."""
        return tag("div", *map(self.chart, charts), css=css)

    def text(self) -> str:
        """Return the page as HTML.

        Raises
        ------
        ValueError
            One line: Plotly is not installed.
        """
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta name="generator" content="mpiopt {__version__}">'
            f"<title>{html.escape(self.title)}</title><style>{asset('page.css')}</style>"
        )
        body = f"<main><h1>{html.escape(self.title)}</h1>{''.join(map(escape, self.parts))}</main>"
        scripts = (
            f'<script type="application/json" id="values">{values(self.charts)}</script>'
            f'<script type="text/plain" id="library">{library() if self.charts else ""}</script>'
            f"<script>{asset('page.js')}</script>"
        )
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}\n{scripts}</body></html>\n'


def values(charts: Iterable[Chart]) -> str:
    """Return the charts as JSON, which cannot end the script element around it."""
    return json.dumps([chart.plain() for chart in charts], allow_nan=False).replace("</", "<\\/")


def asset(name: str) -> str:
    """Return the text of a file beside this one."""
    return (files("mpiopt.results.html") / name).read_text(encoding="utf-8")


@functools.cache
def library() -> str:
    """Return plotly.js (MIT licence, with its notice), compressed from 5 MB to 2."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise ValueError("pages need plotly: pip install mpiopt[analysis]") from None
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
