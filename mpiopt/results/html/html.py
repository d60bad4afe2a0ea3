"""Tags as text: every value is escaped on its way in."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple


class Number(NamedTuple):
    """A number with the text that a reader sees; the page keeps all its digits."""

    value: float
    text: str


Cell = str | Number


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(value: Cell) -> str:
    """Give a value as HTML."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, Number):
        return f'<data value="{value.value!r}">{html.escape(value.text)}</data>'
    return html.escape(value)


def tag(name: str, *inner: Cell, css: str = "", identity: str = "") -> Markup:
    """Give an element."""
    attributes = (f' class="{html.escape(css)}"' if css else "") + (
        f' id="{html.escape(identity)}"' if identity else ""
    )
    return Markup(f"<{name}{attributes}>{''.join(map(escape, inner))}</{name}>")


def table(heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], identity: str = "") -> Markup:
    """Give a table that scrolls by itself where it is too wide; numbers stand to the right."""
    right = [
        bool(rows) and all(isinstance(row[i], Number) or row[i] == "–" for row in rows) for i in range(len(heads))
    ]
    head = tag("tr", *(tag("th", h, css="number" if r else "") for h, r in zip(heads, right, strict=True)))
    body = [
        tag("tr", *(tag("td", c, css="number" if r else "") for c, r in zip(row, right, strict=True))) for row in rows
    ]
    inner = tag("table", tag("thead", head), tag("tbody", *body), identity=identity)
    return tag("div", inner, css="wide")


def pairs(rows: Sequence[tuple[Cell, Cell]]) -> Markup:
    """Give names with their values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))


def section(title: str, *inner: Cell) -> Markup:
    """Give a section under a heading."""
    return tag("section", tag("h2", title), *inner)


def folded(title: str, *inner: Cell) -> Markup:
    """Give what a reader may unfold."""
    return tag("details", tag("summary", title), *inner)


def text(words: str) -> Markup:
    """Give a text with its line ends, in letters of one width."""
    return tag("pre", words)


def paragraph(*inner: Cell, css: str = "") -> Markup:
    """Give a paragraph."""
    return tag("p", *inner, css=css)
