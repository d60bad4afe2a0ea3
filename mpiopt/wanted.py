"""What `launch` is asked to start: its command line."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpiopt.commandtable import from_outside
from mpiopt.flags import parse
from mpiopt.mpirun import Hosts

USAGE = "launch -n P [--spares S] [--hosts a:4,b:4] [--max-restarts 10] [--ulfm auto|on|off] -- train DATA …"


@dataclass(frozen=True)
class Wanted:
    """What is to be started, and how often."""

    ranks: int
    words: tuple[str, ...]  # with spares, `--spares S` at the end
    spares: int = 0
    hosts: Hosts = ()
    max_restarts: int = 10
    ulfm: str = "auto"


def read(words: Sequence[str]) -> Wanted:
    """Read the command line.

    Raises
    ------
    ValueError
        In one line that says how it should be.
    """
    mine, there, theirs = list(words), "--" in words, []
    if there:
        mine, theirs = mine[: mine.index("--")], mine[mine.index("--") + 1 :]
    flags = dict.fromkeys(("ranks", "spares", "hosts", "max-restarts", "ulfm"), True)
    rest, settings = parse(["--ranks" if word == "-n" else word for word in mine], flags)
    told = dict(settings)
    if rest or not theirs or "ranks" not in told:
        raise ValueError(USAGE)
    if from_outside(theirs) or theirs[0] == "serve":
        raise ValueError(f"launch is for train and the like; {theirs[0]} is started without it")
    numbers = {key: whole(key, told[key], least) for key, least in _LEAST.items() if key in told}
    if told.get("ulfm", "auto") not in ("auto", "on", "off"):
        raise ValueError(f"--ulfm is auto, on or off, not {told['ulfm']!r}")
    if numbers.get("spares"):
        theirs = [*theirs, "--spares", str(numbers["spares"])]
    return Wanted(
        numbers["ranks"],
        tuple(theirs),
        numbers.get("spares", 0),
        hosts_of(told.get("hosts", "")),
        numbers.get("max-restarts", Wanted.max_restarts),
        told.get("ulfm", "auto"),
    )


_LEAST = {"ranks": 1, "spares": 0, "max-restarts": 0}


def fewer(wanted: Wanted, slots: int) -> Wanted:
    """Fit what is wanted into so many slots: spares are given up first."""
    ranks = min(wanted.ranks, slots)
    spares = min(wanted.spares, slots - ranks)
    told = wanted.words[:-2] if wanted.spares else wanted.words
    words = (*told, "--spares", str(spares)) if spares else told
    return replace(wanted, ranks=ranks, spares=spares, words=words)


def whole(key: str, text: str, least: int) -> int:
    """Read a whole number."""
    if not text.isdigit() or int(text) < least:
        key = "-n" if key == "ranks" else f"--{key}"
        raise ValueError(f"launch: {key} must be a whole number of at least {least}, not {text!r}")
    return int(text)


def hosts_of(text: str) -> Hosts:
    """Read `a:4,b:4` as hosts with the ranks that they take; 1 where none is given."""
    found = []
    for part in filter(None, text.split(",")):
        name, _, slots = part.partition(":")
        found.append((name, whole("hosts", slots or "1", 1)))
    return tuple(found)


def run_folder(words: Sequence[str]) -> tuple[Path, str]:
    """Give the folder of the result, and its stem; here and `mpiopt` where the words name none."""
    pairs = [*itertools.pairwise(words), *(tuple(word.split("=", 1)) for word in words if "=" in word)]
    out = next((Path(pair[1]) for pair in pairs if pair[0] in ("--out", "-o")), Path("mpiopt"))
    return out.absolute().parent, out.stem
