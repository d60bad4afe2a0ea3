"""Batch scripts from the templates beside this file: the same text, with other `#SBATCH` lines and the words set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

TEMPLATES = Path(__file__).parent
BODY = "set -u\n"  # where a template's own commands begin
_OPTION = re.compile(r"#SBATCH --([a-z-]+)(?:=(.*))?$")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$")


def filled(
    template: str, options: Mapping[str, str], variables: Mapping[str, str], words: Sequence[str], told: str
) -> str:
    """Give a template's text with these options of sbatch ("" for one without a value), variables and arguments.

    `told` is a comment that says where the script comes from.
    """
    head, body = template.split(BODY, 1)
    lines = [line for line in head.splitlines() if not _replaced(line, options)]
    last = max((i for i, line in enumerate(lines) if line.startswith("#SBATCH")), default=0)
    asked = [f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}" for name, value in options.items()]
    lines[last + 1 : last + 1] = asked
    ours = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, f"# {told}", *ours, f"set -- {shlex.join(words)}", ""]) + BODY + body


def _replaced(line: str, options: Mapping[str, str]) -> bool:
    found = _OPTION.match(line)
    return found is not None and found.group(1) in options


def read(name: str | Path) -> str:
    """Give the text of a template: one of ours by its name, or a file.

    Raises
    ------
    ValueError
        If it is no template.
    """
    path = TEMPLATES / f"{name}.sbatch" if (TEMPLATES / f"{name}.sbatch").is_file() else Path(name)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the template cannot be read: {error}") from None
    if BODY not in text:
        raise ValueError(f"{path}: a template has a line 'set -u' between its #SBATCH lines and its commands")
    return text


def seconds(time: str) -> int:
    """Read a time limit in Slurm's forms: MINUTES, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    Raises
    ------
    ValueError
        For anything else.
    """
    found = _TIME.match(time)
    if found is None:
        raise ValueError(f"--time is like 30 (minutes), 4:00:00 or 2-12:00:00, not {time!r}")
    days, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, rest = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, rest = numbers
    else:
        hours, (minutes, rest) = 0, [*numbers, 0][:2]
    return 86400 * int(days or 0) + 3600 * hours + 60 * minutes + rest
