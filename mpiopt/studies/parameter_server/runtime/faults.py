"""The plan of what dies, when, and for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mpiopt.core.config.registry import nearest
from mpiopt.studies.parameter_server.runtime.view import Role

WHAT = {"server": Role.SERVER, "worker": Role.WORKER, "store": Role.STORE}
SECONDS = re.compile(r"\s*(\d+(?:\.\d*)?)\s*s\s*")


class Fault(NamedTuple):
    """One death."""

    seconds: float | None  # when, since the start; None: by `update`
    update: int  # or as soon as the weights have had so many updates
    role: Role
    place: int  # 0: the first with this role, for servers the one that serves
    outage: float  # seconds until a spare takes its place

    @property
    def what(self) -> str:
        """Name the victim."""
        return f"{self.role.name.lower()} {self.place}" if self.place else self.role.name.lower()


def fault(block: Mapping[str, Any], end: float, draw: np.random.Generator) -> Fault:
    """Read one [[fault]]: at = "30 s" or 400 (updates) or "random"; what = "server", "worker 1"; outage = "20 s".

    Raises
    ------
    ValueError
        One line: what is wrong, and what is allowed.
    """
    for key in block.keys() - {"at", "what", "outage"}:
        raise ValueError(f"a [[fault]] has no key {key!r}{nearest(key, ('at', 'what', 'outage'))}")
    at, outage = block.get("at"), seconds("outage", block.get("outage", "2 s"))
    role, place = victim(block.get("what", "server"))
    if isinstance(at, int) and not isinstance(at, bool) and at >= 0:
        return Fault(None, at, role, place, outage)
    when = float(draw.uniform(0.1, 0.9)) * max(0.0, end - outage) if at == "random" else seconds("at", at)
    return Fault(when, 0, role, place, outage)


def seconds(key: str, text: object) -> float:
    """Read a time such as "30 s"."""
    match = SECONDS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        more = ', a number of updates, or "random"' if key == "at" else ""
        raise ValueError(f'a [[fault]] has {key} = "30 s"{more}; not {text!r}')
    return float(match[1])


def victim(text: object) -> tuple[Role, int]:
    """Read who dies: a role and its number among those with it."""
    word, _, number = str(text).partition(" ")
    if word not in WHAT or (number and not number.isdigit()):
        raise ValueError(f'what dies is {", ".join(WHAT)}, with a number from 0 on ("worker 1"); not {text!r}')
    return WHAT[word], int(number or 0)
