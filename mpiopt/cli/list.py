"""The command `list`: every plug-in in one line, with its options and their defaults."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Mapping, Sequence

from mpiopt.comm.base import Comm
from mpiopt.core.config.flags import parse
from mpiopt.core.config.registry import Plugin, nearest
from mpiopt.resilience.signals import StopSignal

WIDTH, INDENT = 80, 17 * " "
FAMILIES = {
    "losses": ("mpiopt.objective.losses.base", "Loss"),
    "penalties": ("mpiopt.objective.penalties.base", "Penalty"),
    "compressors": ("mpiopt.compress.compressors.base", "Compressor"),
    "algorithms": ("mpiopt.algorithms.base", "Algorithm"),
    "datasets": ("mpiopt.data.formats.base", "Reader"),
    "topologies": ("mpiopt.consensus.topologies.base", "Topology"),
    "coordinators": ("mpiopt.consensus.coordinators.base", "Coordinator"),
    "stepsizes": ("mpiopt.algorithms.step_sizes.base", "StepSize"),
    "recovery": ("mpiopt.resilience.recovery.base", "Recovery"),
    "networks": ("mpiopt.studies.parameter_server.networks.base", "Network"),
    "servers": ("mpiopt.studies.parameter_server.servers.base", "Server"),
    "backlogs": ("mpiopt.studies.parameter_server.backlogs.base", "Backlog"),
}


def listing(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the plug-ins of one family or of all; `list topologies --ranks P [--plot FILE.png]` shows the graphs."""
    wanted, settings = parse(words, {"ranks": True, "plot": True})
    if settings:
        from mpiopt.cli.list_topologies import show_graphs

        return show_graphs(wanted, settings, comm)
    for name in wanted:
        if name not in FAMILIES:
            raise ValueError(f"unknown family {name!r}{nearest(name, FAMILIES)}; known: {', '.join(FAMILIES)}")
    if comm.rank == 0:
        print("\n\n".join(described(name) for name in wanted or FAMILIES))
    return 0


def described(family: str) -> str:
    """Give the members of a family with their options, in 80 columns; then the table of their figures."""
    module, cls = FAMILIES[family]
    members: dict[str, type[Plugin]] = getattr(importlib.import_module(module), cls).known()
    lines = [member(name, kind) for name, kind in members.items()]
    return "\n".join([family, *lines, *table({name: kind.figures() for name, kind in members.items()})])


def member(name: str, kind: type[Plugin]) -> str:
    """Give one plug-in: the first line of its docstring, its options with their defaults."""
    first = (kind.__doc__ or "").strip().partition("\n")[0]
    options = ", ".join(f"{f.name}={f.default}" for f in kind.options().values())
    lines = wrapped(f"{name:<14} {first}", "  ") + (wrapped(f"[{options}]", INDENT) if options else [])
    return "\n".join(lines)


def wrapped(text: str, before: str) -> list[str]:
    """Give lines of at most 80 columns, all but the first indented as the descriptions are."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=before,
        subsequent_indent=INDENT,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(figures: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Give a line for each member and one for the headings; nothing for a family without figures."""
    headings = list(dict.fromkeys(heading for row in figures.values() for heading in row))
    rows = [
        ["", *headings],
        *([name, *(row.get(heading, "") for heading in headings)] for name, row in figures.items()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(widths[0], 14)
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return ["", *(f"  {line.rstrip()}" for line in lines)] if headings else []
