"""What a study reports: printed tables, and the files OUT.json, OUT.png, OUT.h5 and OUT.html."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpiopt.studies import page, storage
from mpiopt.studies.verdicts import Fact, facts_text


@dataclass(frozen=True)
class Report:
    """The findings of a study.

    `stored` holds what OUT.h5 keeps of each cell, by default the values of `cells`; `source` overrides where the data
    come from (`job`, `seed`, `data`, `objective`) in the same file.
    """

    tables: Sequence[str]
    facts: Sequence[Fact]
    job: Mapping[str, Any]  # plain values
    cells: Sequence[Mapping[str, Any]]  # plain values
    draw: Callable[[str], None]  # writes the picture to a path; ImportError without matplotlib
    summary: page.StudySummary
    more: Mapping[str, Any] = field(default_factory=dict)  # other entries of OUT.json
    stored: Sequence[storage.StoredCell] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    all_comparisons: bool = False  # print also the comparisons that hold

    @property
    def text(self) -> str:
        """The tables, then the verdicts."""
        return "\n\n".join([*filter(None, self.tables), facts_text(self.facts, self.all_comparisons)])

    def write(self, out: str, study: str) -> list[str]:
        """Write all files and return their names, or in place of a name the reason why a file was not made.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        facts = [fact.as_plain() for fact in self.facts]
        tree = {"job": self.job, "facts": facts, "cells": self.cells, **self.more}
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(f"{out}.json.partial").write_text(json.dumps(tree))
        os.replace(f"{out}.json.partial", f"{out}.json")
        try:
            self.draw(f"{out}.png")
            picture = f"{out}.png"
        except ImportError:
            picture = "no picture without matplotlib"
        stored = self.stored if self.stored is not None else list(map(storage.stored_cell, self.cells))
        storage.write_study(f"{out}.h5", study, stored, **{"job": self.job, **self.source})
        return [f"{out}.json", picture, f"{out}.h5", page.write(out, tree, self.summary)]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of words as left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() for line in lines)
