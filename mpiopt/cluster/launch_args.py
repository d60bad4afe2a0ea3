"""The command line of `mpiopt launch`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpiopt.cluster.mpirun import Hosts, HostSlots
from mpiopt.core.config.commands import runs_without_mpi
from mpiopt.core.config.flags import parse

USAGE = "launch -n P [--spares S] [--hosts a:4,b:4] [--max-restarts 10] [--ulfm auto|on|off] -- train DATA …"
LEAST = {"ranks": 1, "spares": 0, "max-restarts": 0}  # the smallest allowed value of each numeric flag
ULFM = ("auto", "on", "off")


@dataclass(frozen=True)
class LaunchRequest:
    """The job to start: its command, its ranks, and how often it may be restarted."""

    ranks: int
    command: tuple[str, ...]  # of mpiopt, without --spares
    spares: int = 0
    hosts: Hosts = ()
    max_restarts: int = 10
    ulfm: str = "auto"

    @property
    def words(self) -> tuple[str, ...]:
        """The command with its number of spare ranks."""
        return (*self.command, "--spares", str(self.spares)) if self.spares else self.command

    def within(self, slots: int) -> LaunchRequest:
        """Return the request reduced to `slots` processes: first spares are dropped, then ranks."""
        ranks = min(self.ranks, slots)
        return replace(self, ranks=ranks, spares=min(self.spares, slots - ranks))


def read(words: Sequence[str]) -> LaunchRequest:
    """Read the command line.

    Raises
    ------
    ValueError
        In one line, for a missing or wrong flag and for a command that launch cannot run.
    """
    own, command = list(words), list[str]()
    if "--" in words:
        own, command = own[: own.index("--")], own[own.index("--") + 1 :]
    flags = dict.fromkeys((*LEAST, "hosts", "ulfm"), True)
    positional, settings = parse(["--ranks" if word == "-n" else word for word in own], flags)
    given = dict(settings)
    if positional or not command or "ranks" not in given:
        raise ValueError(f"launch needs -n P, and a command after --: mpiopt {USAGE}")
    if runs_without_mpi(command) or command[0] == "serve":
        other = "with mpirun" if command[0] == "serve" else "without launch"
        raise ValueError(f"launch cannot run {command[0]!r}; start it {other}")
    ulfm = given.get("ulfm", "auto")
    if ulfm not in ULFM:
        raise ValueError(f"--ulfm must be auto, on or off, not {ulfm!r}")
    numbers = {key: _whole_number(key, given[key], least) for key, least in LEAST.items() if key in given}
    return LaunchRequest(
        ranks=numbers["ranks"],
        command=tuple(command),
        spares=numbers.get("spares", 0),
        hosts=_hosts(given.get("hosts", "")),
        max_restarts=numbers.get("max-restarts", LaunchRequest.max_restarts),
        ulfm=ulfm,
    )


def _whole_number(key: str, text: str, least: int) -> int:
    if not text.isdigit() or int(text) < least:
        flag = "-n" if key == "ranks" else f"--{key}"
        raise ValueError(f"launch: {flag} must be a whole number of at least {least}, not {text!r}")
    return int(text)


def _hosts(text: str) -> Hosts:
    """Read `a:4,b:4`; a host without a number has one slot."""
    hosts = []
    for part in filter(None, text.split(",")):
        name, _, slots = part.partition(":")
        hosts.append(HostSlots(name, _whole_number("hosts", slots or "1", 1)))
    return tuple(hosts)


def result_path(words: Sequence[str]) -> Path:
    """Return the absolute path of the job's result without its suffix; `mpiopt`, here, if no --out is given."""
    pairs = [*itertools.pairwise(words), *(tuple(word.split("=", 1)) for word in words if "=" in word)]
    out = next((Path(pair[1]) for pair in pairs if pair[0] in ("--out", "-o")), Path("mpiopt")).absolute()
    return out.parent / out.stem
