"""HTML elements as text; every value is escaped when it is put in."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple


class Number(NamedTuple):
    """A number and the text that a reader sees; the page keeps all digits."""

    value: float
    text: str


Cell = str | Number


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def escape(value: Cell) -> str:
    """Return a value as HTML."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, Number):
        return f'<data value="{value.value!r}">{html.escape(value.text)}</data>'
    return html.escape(value)


def tag(name: str, *inner: Cell, css: str = "", identity: str = "") -> Markup:
    """Return an element."""
    attributes = (f' class="{html.escape(css)}"' if css else "") + (
        f' id="{html.escape(identity)}"' if identity else ""
    )
    return Markup(f"<{name}{attributes}>{''.join(map(escape, inner))}</{name}>")


def table(heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], identity: str = "") -> Markup:
    """Return a table, which scrolls if it is too wide; numbers are right-aligned."""
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
    """Return names with their values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))


def section(title: str, *inner: Cell) -> Markup:
    """Return a section with a heading."""
    return tag("section", tag("h2", title), *inner)


def folded(title: str, *inner: Cell) -> Markup:
    """Return an element that a reader can unfold."""
    return tag("details", tag("summary", title), *inner)


def text(words: str) -> Markup:
    """Return a text with its line breaks, in a fixed-width font."""
    return tag("pre", words)


def paragraph(*inner: Cell, css: str = "") -> Markup:
    """Return a paragraph."""
    return tag("p", *inner, css=css)
