"""What a study reports: printed tables, and the files OUT.json, OUT.png, OUT.h5 and OUT.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpiopt.core.files import write_whole
from mpiopt.results.plot import draw
from mpiopt.studies import page, storage
from mpiopt.studies.verdicts import Fact, facts_text

COLUMNS = 3  # charts side by side in a picture
SUFFIXES = (".json", ".png", ".h5", ".html")  # of the files that are written


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
    summary: page.StudySummary
    more: Mapping[str, Any] = field(default_factory=dict)  # other entries of OUT.json
    stored: Sequence[storage.StoredCell] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    all_comparisons: bool = False  # print also the comparisons that hold

    @property
    def text(self) -> str:
        """The tables, then the verdicts."""
        return "\n\n".join([*filter(None, self.tables), facts_text(self.facts, self.all_comparisons)])

    def write(self, out: str, study: str, settings: str = "") -> list[str]:
        """Write all files and return their names, or in place of a name the reason why a file was not made.

        `settings` tells later whether the same job has written them.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        facts = [fact.as_plain() for fact in self.facts]
        tree = {"job": self.job, "facts": facts, "cells": self.cells, **self.more}
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(f"{out}.json"), json.dumps(tree).encode())
        try:
            draw(self.summary.drawn, f"{out}.png", COLUMNS)
            picture = f"{out}.png"
        except ImportError:
            picture = "no picture without matplotlib"
        stored = self.stored if self.stored is not None else list(map(storage.stored_cell, self.cells))
        storage.write_study(f"{out}.h5", study, stored, **{"job": self.job, "settings": settings, **self.source})
        return [f"{out}.json", picture, f"{out}.h5", page.write(out, tree, self.summary)]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of words as left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() for line in lines)
