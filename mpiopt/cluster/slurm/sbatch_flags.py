"""Flags of sbatch after `--`: they go into the script, so that it is complete when it is submitted again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mpiopt.cluster.slurm.scripts import refuse_control_characters

SHORT = {
    "A": "account",
    "B": "extra-node-info",
    "C": "constraint",
    "D": "chdir",
    "G": "gpus",
    "J": "job-name",
    "L": "licenses",
    "M": "clusters",
    "N": "nodes",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
}
NAME = re.compile(r"[a-z][a-z0-9-]*")  # what else could stand there would end its line, and begin another
# What asks sbatch itself for something, or holds for one submission alone.
OF_ONE_CALL = ("dependency", "help", "parsable", "quiet", "test-only", "usage", "verbose", "version", "wait", "wrap")
# What the small job that makes the table of a sweep needs as well.
OF_EVERY_JOB = ("account", "chdir", "clusters", "mail-type", "mail-user", "partition", "qos", "reservation", "wckey")


def read(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options for the script by their long names, "" for one without a value, and the words for sbatch.

    Raises
    ------
    ValueError
        For a word that is no flag, and for a value that would end its line.
    """
    in_script: dict[str, str] = {}
    on_line: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = long_form(word)
        if not equals and rest and not rest[0].startswith("-"):
            equals, value = "=", rest.pop(0)
        refuse_control_characters(f"--{name}", value)
        if name in OF_ONE_CALL:
            on_line.append(f"--{name}{equals}{value}")
        else:
            in_script[name] = value
    return in_script, on_line


def long_form(word: str) -> tuple[str, str, str]:
    """Split a flag into its long name, "=" if a value follows in the same word, and the value."""
    name, equals, value = word.removeprefix("--").partition("=")
    if word.startswith("--") and NAME.fullmatch(name):
        return name, equals, value
    if word.startswith("-") and word[1:2] in SHORT:
        return SHORT[word[1]], "=" if word[2:] else "", word[2:]
    raise ValueError(f"after --, submit takes flags of sbatch, as --qos=long; not {word!r}")
