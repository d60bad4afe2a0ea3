"""Batch scripts from the templates beside this file: the same commands with other `#SBATCH` lines and arguments."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

TEMPLATES = Path(__file__).parent
BODY = "set -u\n"  # the commands of a template begin here
OPTION = re.compile(r"#SBATCH --([a-z-]+)(?:=(.*))?$")
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
EXPANDED = ("ENVIRONMENT",)  # variables whose value the shell reads when the script runs
FIND_MODULES = "type module >/dev/null 2>&1 || . /etc/profile.d/modules.sh || . /etc/profile.d/lmod.sh"
PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)  # needs no quotes in a line of #SBATCH


def filled(
    template: str,
    options: Mapping[str, str],
    variables: Mapping[str, str],
    words: Sequence[str],
    origin: str,
    modules: Sequence[str] = (),
) -> str:
    """Return the text of a script.

    Parameters
    ----------
    template : str
        Text of a template.
    options : mapping of str to str
        Options of sbatch, which replace those of the template; "" for an option without a value.
    variables : mapping of str to str
        Shell variables that the template reads; that of `EXPANDED` is shell text, the others are quoted.
    words : sequence of str
        Arguments of `mpiopt train` or `mpiopt sweep`.
    origin : str
        Comment that says where the script comes from.
    modules : sequence of str
        Environment modules to load.

    Raises
    ------
    ValueError
        If a value would end its line: the rest would be commands of the script.
    """
    for name, value in {**options, "name of the script": origin}.items():
        refuse_control_characters(name, value)
    head, body = template.split(BODY, 1)
    lines = [line for line in head.splitlines() if not _sets_one_of(options, line)]
    last = max((i for i, line in enumerate(lines) if line.startswith("#SBATCH")), default=0)
    lines[last + 1 : last + 1] = [
        f"#SBATCH --{name}{f'={quoted(value)}' if value else ''}" for name, value in options.items()
    ]
    assignments = [f"{name}={value if name in EXPANDED else shlex.quote(value)}" for name, value in variables.items()]
    loads = [FIND_MODULES, f"module load {shlex.join(modules)}"] if modules else []
    return "\n".join([*lines, f"# {origin}", *loads, *assignments, f"set -- {shlex.join(words)}", ""]) + BODY + body


def quoted(value: str) -> str:
    """Return a value for a line of #SBATCH: in double quotes, where a backslash goes before a quote or a backslash.

    These are the rules of sbatch, which reads the lines itself, without a shell. Outside of quotes a blank ends the
    value, and # the line.
    """
    if PLAIN.fullmatch(value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def output_pattern(path: str) -> str:
    """Return the pattern for `--output` that means just this path: sbatch replaces % and drops backslashes there.

    Raises
    ------
    ValueError
        If the path holds a backslash.
    """
    if "\\" in path:
        raise ValueError(f"{path!r}: Slurm writes no output to a path with a backslash; choose another --out")
    return path.replace("%", "%%")


def refuse_control_characters(what: str, value: str) -> None:
    """Raise ValueError for a newline or another character that cannot stand in a line of a script."""
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in value):
        raise ValueError(f"{what} must not hold a newline or another control character: {value!r}")


def _sets_one_of(options: Mapping[str, str], line: str) -> bool:
    match = OPTION.match(line)
    return match is not None and (match.group(1) in options or f"no-{match.group(1)}" in options)


def in_shell(path: str | Path) -> str:
    """Return a path as it is written in a line of the shell."""
    return shlex.quote(str(path))


def read(name: str | Path) -> str:
    """Return the text of a template: one of ours by its name, or a file.

    Raises
    ------
    ValueError
        If it cannot be read or is no template.
    """
    path = TEMPLATES / f"{name}.sbatch" if (TEMPLATES / f"{name}.sbatch").is_file() else Path(name)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the template cannot be read: {error}") from None
    if BODY not in text:
        raise ValueError(f"{path}: a template needs a line 'set -u' between its #SBATCH lines and its commands")
    return text


def seconds(time: str) -> int:
    """Read a time limit in Slurm's forms: MINUTES, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    Raises
    ------
    ValueError
        For anything else.
    """
    match = TIME.fullmatch(time)
    if match is None:
        raise ValueError(f"--time must be like 30 (minutes), 4:00:00 or 2-12:00:00, not {time!r}")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is None and len(numbers) < 3:  # M or M:S
        numbers = [0, *numbers]
    hours, minutes, rest = [*numbers, 0, 0][:3]
    return 86400 * int(days or 0) + 3600 * hours + 60 * minutes + rest
