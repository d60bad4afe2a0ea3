"""Facts that a study checks, and their verdicts."""

from __future__ import annotations

from typing import NamedTuple


class Item(NamedTuple):
    """One comparison."""

    holds: bool
    text: str


class Fact(NamedTuple):
    """A fact with its comparisons."""

    letter: str
    claim: str
    items: list[Item]

    @property
    def verdict(self) -> str:
        """Give holds, partly, FAILS, or not run."""
        held = sum(item.holds for item in self.items)
        if not self.items:
            return "not run"
        return "holds" if held == len(self.items) else "partly" if held else "FAILS"
