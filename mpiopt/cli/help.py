"""The text of --help: what a command does, its flags, and examples; no line is longer than 80 columns.

The texts are in help.toml beside this file; a new command is added there and to `mpiopt.core.config.commands`.
"""

from __future__ import annotations

import importlib
import re
import textwrap
import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from mpiopt import __version__
from mpiopt.core.config.commands import COMMANDS

WIDTH = 80  # columns of a terminal
EXIT_CODES_TOPIC = "exit-codes"
TEXTS: dict[str, Any] = tomllib.loads(resources.files("mpiopt.cli").joinpath("help.toml").read_text("utf-8"))
CALLS = {name: str(text["call"]) for name, text in TEXTS["commands"].items() if "call" in text}
FLAGS: dict[str, dict[str, str]] = {name: text.get("flags", {}) for name, text in TEXTS["commands"].items()}
EXAMPLES: dict[str, list[str]] = {
    "": TEXTS["overview"]["examples"],
    **{name: text["examples"] for name, text in TEXTS["commands"].items()},
}


def usage(words: Sequence[str]) -> str:
    """Return the help on the command or topic that is named first, else on all commands."""
    if EXIT_CODES_TOPIC in words:
        return exit_codes()
    name = next((word for word in words if word in COMMANDS), "")
    return (describe(name) if name else overview()) + "\n\n" + examples(name)


def overview() -> str:
    """Return one or two lines for each command."""
    commands = "\n".join(folded(f"  {name:<9} {c.summary}: {c.call}") for name, c in COMMANDS.items())
    return "\n\n".join(
        [
            f"mpiopt {__version__}: fit convex models over MPI, to a certified optimum",
            commands,
            "mpiopt COMMAND --help explains a command; mpiopt list shows losses, penalties\n"
            f"and algorithms; mpiopt help {EXIT_CODES_TOPIC} explains exit codes",
        ]
    )


def describe(name: str) -> str:
    """Return what a command does, how it is called, and its flags."""
    call = _call(name)
    if "\n" not in call:
        call = f"  mpiopt {call.removeprefix('mpiopt ')}"
    call = re.sub(r"\n {8,}", " ", call)  # joins lines that were folded by hand
    parts = [COMMANDS[name].summary, "\n".join(folded(line) for line in call.splitlines())]
    if name == "train":
        from mpiopt.core.config.job_file import described_flags

        parts.append(described_flags())
    elif FLAGS[name]:
        parts.append(_flag_lines(FLAGS[name]))
    parts.append(_flag_lines(TEXTS["log-level"]))
    return "\n\n".join(parts)


def _call(name: str) -> str:
    if name == "generate":
        return generate_call()
    return CALLS[name] if name in CALLS else str(importlib.import_module(COMMANDS[name].module).USAGE)


def generate_call() -> str:
    """Return the call of `generate`, with the default of each flag."""
    from mpiopt.data.formats.synthetic import Generated

    flags = " ".join(f"[--{f.name} {f.default}]" for f in Generated.options().values())
    return f"generate OUT.h5 {flags} [--form auto|dense|csr] [--float32] [--overwrite]"


def _flag_lines(flags: dict[str, str]) -> str:
    dashes = {flag: "-" if flag == "n P" else "--" for flag in flags}
    return "\n".join(folded(f"  {dashes[flag] + flag:<19} {text}") for flag, text in flags.items())


def exit_codes() -> str:
    """Return the table of exit codes."""
    lines = ["exit codes; all ranks of a run end with the same one", ""]
    for row in TEXTS[EXIT_CODES_TOPIC]:
        advice = f": {row['what-to-do']}" if "what-to-do" in row else ""
        text = f"  {row['code']:>3}  {row['meaning']}{advice}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False)
    return "\n".join([*lines, "", "a killed rank ends with an exit code of the operating system or of MPI: 137 …"])


def examples(name: str) -> str:
    """Return the examples of a command."""
    return "\n".join([f"example{'s' * (len(EXAMPLES[name]) > 1)}:", *(f"  {line}" for line in EXAMPLES[name])])


def folded(line: str) -> str:
    """Fold a line at 80 columns, never inside brackets; the rest is aligned with the text after a flag's name."""
    column = re.match(r"(\s*--?\S.*?\s{2,}|  \w+\s{2,})", line)
    kept = re.sub(r"\[[^]]*\]", lambda group: group[0].replace(" ", "\xa0"), line)
    indent = " " * (len(column[0]) if column else 6)
    lines = textwrap.wrap(kept, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\xa0", " ")
