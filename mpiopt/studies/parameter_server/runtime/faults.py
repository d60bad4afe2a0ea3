"""Planned faults: which rank dies, when, and for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mpiopt.core.config.registry import nearest
from mpiopt.studies.parameter_server.runtime.view import Role

ROLES = {"server": Role.SERVER, "worker": Role.WORKER, "store": Role.STORE}
KEYS = ("at", "what", "outage")
SECONDS = re.compile(r"\s*(\d+(?:\.\d*)?)\s*s\s*")


class Fault(NamedTuple):
    """One planned death."""

    seconds: float | None  # time since the start; None: `update` says when
    update: int  # number of updates after which it happens
    role: Role
    place: int  # among the ranks with this role; 0: the first, for servers the one that serves
    outage: float  # seconds until a spare gets the role


def fault(block: Mapping[str, Any], end: float, draw: np.random.Generator) -> Fault:
    """Read one [[fault]]: at = "30 s" or 400 (updates) or "random"; what = "server", "worker 1"; outage = "20 s".

    Raises
    ------
    ValueError
        In one line: what is wrong and what is allowed.
    """
    for key in block.keys() - set(KEYS):
        raise ValueError(f"a [[fault]] has no key {key!r}{nearest(key, KEYS)}; the keys are {', '.join(KEYS)}")
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
        more = ', a number of updates or "random"' if key == "at" else ""
        raise ValueError(f'[[fault]]: {key} must be a time such as "30 s"{more}, not {text!r}')
    return float(match[1])


def victim(text: object) -> tuple[Role, int]:
    """Read which rank dies: a role and a place among the ranks with it."""
    word, _, number = str(text).partition(" ")
    if word not in ROLES or (number and not number.isdigit()):
        known = ", ".join(ROLES)
        raise ValueError(f'[[fault]]: what must be one of {known}, with a place from 0 on ("worker 1"); not {text!r}')
    return ROLES[word], int(number or 0)
