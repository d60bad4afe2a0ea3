"""How a run ended, as its result says it, in the words that every table uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CERTIFIED, BUDGET, SIGNAL, NO_OPTIMUM = "certified", "budget", "signal", "no optimum"
HEADS = {
    CERTIFIED: "certified",
    BUDGET: "NOT certified, budget spent",
    SIGNAL: "NOT certified, stopped",
    NO_OPTIMUM: "NOT certified",
}
OF_CODES = {0: CERTIFIED, 3: BUDGET, 75: SIGNAL, 130: SIGNAL, 143: SIGNAL}  # results of versions that note no ending
STATES = {CERTIFIED: "certified", BUDGET: "budget spent", NO_OPTIMUM: "no optimum"}
STOPPED = {3: "halted", 75: "to be continued"}  # after a signal, by exit code


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    kind: str  # "certified", "budget", "signal", "no optimum"; "" if it is not known
    reason: str = ""  # in words
    code: int = 0  # exit code

    @property
    def text(self) -> str:
        """The ending in a line: "NOT certified, budget spent: max_epochs 1 spent"."""
        head = HEADS.get(self.kind, "NOT certified")
        return f"{head}: {self.reason}" if self.reason else head

    @property
    def state(self) -> str:
        """The ending in a word or two, for a column of a table."""
        return STATES.get(self.kind) or (STOPPED.get(self.code, "stopped") if self.kind == SIGNAL else "failed")


def ending_of(provenance: Mapping[str, Any]) -> Ending:
    """Return the ending that the provenance of a result notes."""
    code = int(provenance.get("exit_status", -1))
    kind = str(provenance.get("ending", "")) or OF_CODES.get(code, "")
    return Ending(kind, str(provenance.get("reason", "")), code)
