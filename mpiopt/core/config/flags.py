"""Parse a command line into positional arguments and settings; an unknown flag is an error with the nearest one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_type_hints

from mpiopt.core.config.job_file import value_of
from mpiopt.core.config.registry import nearest

Settings = list[tuple[str, str]]

SHORT = {"-o": "--out"}


def parse(words: Sequence[str], flags: Mapping[str, bool]) -> tuple[list[str], Settings]:
    """Split `words` into positional arguments and (flag, text) pairs.

    `flags` has every known flag without its dashes, and True if a value follows it (`--tol 1e-8` or `--tol=1e-8`).
    A flag without a value has the text "true"; `-o` is `--out`. After `--` everything is positional.

    Raises
    ------
    ValueError
        If a flag is unknown (the nearest one is named), its value is missing, or an argument is empty.
    """
    positional: list[str] = []
    settings: Settings = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return positional + rest, settings
        if not word:
            raise ValueError("an argument is empty: is a variable of the shell not set?")
        if not word.startswith("-") or word == "-":
            positional.append(word)
            continue
        flag, equals, text = SHORT.get(word, word).lstrip("-").partition("=")
        if flag not in flags or not (word.startswith("--") or word in SHORT):
            raise ValueError(unknown(word, flags))
        if flags[flag] and not equals:
            text = _take_value(flag, rest)
        settings.append((flag, text if flags[flag] or equals else "true"))
    return positional, settings


def unknown(word: str, flags: Collection[str]) -> str:
    """Return a message about an unknown flag: the nearest one, or all flags if none is near."""
    word = word.partition("=")[0]
    near = nearest(word.lstrip("-"), flags).replace("'", "--", 1).replace("'", "")
    listed = " ".join(f"--{f}" for f in sorted(flags)) or "none"
    return f"unknown flag {word}{near or f'; the flags are {listed}'}"


def _take_value(flag: str, rest: list[str]) -> str:
    """Take the value of a flag from the words after it."""
    if not rest or rest[0].startswith("--"):
        raise ValueError(f"--{flag} needs a value")
    return rest.pop(0)


def typed(options: type[Any], settings: Settings) -> dict[str, Any]:
    """Return flags in the types of the fields of a dataclass of options."""
    hints = get_type_hints(options)
    return {key: value_of(key, text, hints[key]) for key, text in settings}
