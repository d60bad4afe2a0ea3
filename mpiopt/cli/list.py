"""The command `list`: every plug-in with its options and their defaults, and the constants of the algorithms."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.flags import parse
from mpiopt.core.config.registry import Plugin, nearest
from mpiopt.resilience.signals import StopSignal

WIDTH = 80  # columns of a terminal
INDENT = 17 * " "  # of continued lines: the column of the descriptions
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


def list_plugins(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the plug-ins of the named families or of all; the figures of topologies; or the algorithms' constants."""
    families, settings = parse(words, {"tuning": False, "ranks": True, "plot": True, "overwrite": False})
    if "tuning" in dict(settings):
        if families or len(settings) > 1:
            raise ValueError("list --tuning takes no other argument")
        print_on_root(comm, "\n\n".join(describe_tuning(kind) for kind in tuning_classes()) or "no constants")
        return 0
    if settings:
        from mpiopt.cli.list_topologies import list_topologies

        return list_topologies(families, settings, comm)
    for name in families:
        if name not in FAMILIES:
            raise ValueError(f"unknown family {name!r}{nearest(name, FAMILIES)}; known: {', '.join(FAMILIES)}")
    print_on_root(comm, "\n\n".join(describe_family(name) for name in families or FAMILIES))
    return 0


def describe_family(family: str) -> str:
    """Return the members of a family with their options, then the table of their figures; in 80 columns."""
    module, cls = FAMILIES[family]
    members: dict[str, type[Plugin]] = getattr(importlib.import_module(module), cls).known()
    lines = [describe_member(name, kind) for name, kind in members.items()]
    figures = figures_table({name: kind.figures() for name, kind in members.items()})
    return "\n".join([family, *lines, *figures])


def describe_member(name: str, kind: type[Plugin]) -> str:
    """Return one plug-in: the first line of its docstring, its options with their defaults."""
    first = (kind.__doc__ or "").strip().partition("\n")[0]
    options = ", ".join(f"{f.name}={f.default}" for f in kind.options().values())
    lines = _wrapped(f"{name:<14} {first}", "  ") + (_wrapped(f"[{options}]", INDENT) if options else [])
    return "\n".join(lines)


def _wrapped(text: str, first: str, others: str = INDENT) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


def figures_table(figures: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a line of headings and a line for each member; nothing for a family without figures."""
    headings = list(dict.fromkeys(heading for row in figures.values() for heading in row))
    rows = [
        ["", *headings],
        *([name, *(row.get(heading, "") for heading in headings)] for name, row in figures.items()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(widths[0], 14)
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return ["", *(f"  {line.rstrip()}" for line in lines)] if headings else []


def tuning_classes() -> Iterator[type]:
    """Yield the dataclasses of tuning constants of the algorithms: `SagaTuning`, `LbfgsTuning` and others."""
    package = importlib.import_module("mpiopt.algorithms")
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for name, kind in vars(importlib.import_module(info.name)).items():
            if re.fullmatch(r"\w+Tuning", name) and kind.__module__ == info.name:
                yield kind


def describe_tuning(kind: type) -> str:
    """Return the constants of one class: name, value, and the comment with its unit and reason."""
    constants, comments = kind(), comments_of_fields(kind)
    lines = [f"{kind.__name__} ({kind.__module__})"]
    for name in comments:
        lines += _wrapped(f"{name} = {getattr(constants, name)!r}", "  ", 6 * " ")
        lines += _wrapped(comments[name], 6 * " ", 6 * " ")
    return "\n".join(lines)


def comments_of_fields(kind: type) -> dict[str, str]:
    """Return the comment of each field of a dataclass: at the end of its line, else on the lines above it.

    A line above that ends with a full stop and follows an empty line is the heading of a group.
    """
    comments: dict[str, str] = {}
    above: list[str] = []
    after_blank = False
    for line in inspect.getsource(kind).splitlines():
        field = re.match(r"    (\w+): [^#]*(?:  # (.*))?$", line)
        if field:
            comments[field[1]] = field[2] or " ".join(above)
        if line.startswith("    # "):
            above = [] if after_blank and line.endswith(".") else [*above, line.removeprefix("    # ")]
        else:
            above = []
        after_blank = not line.strip()
    return {f.name: comments.get(f.name, "") for f in dataclasses.fields(kind)}
