"""The job of the study: the problem, the times, the plan of deaths, the cells."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mpiopt.core.config.job import at_least
from mpiopt.core.config.registry import Plugin
from mpiopt.core.config.spec import coerce, parse_spec
from mpiopt.core.rng import generator
from mpiopt.studies.jobs import fields
from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.networks.base import Network
from mpiopt.studies.parameter_server.runtime.examples import Sets, load
from mpiopt.studies.parameter_server.runtime.faults import Fault, fault
from mpiopt.studies.parameter_server.runtime.registry import Rules
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import View, first
from mpiopt.studies.parameter_server.runtime.virtual import VirtualCosts
from mpiopt.studies.parameter_server.servers.base import Server

MODES = ("virtual", "processes")
RANDOM_FAULTS = 105  # stream of randomness
LISTS = {"configurations": "", "workers": 1, "kills": 1, "seeds": 0}


class FailureCell(NamedTuple):
    """One run."""

    configuration: str  # a server with its options: sync-chain[replicas=2]
    workers: int = 1
    kills: int = 1  # the first so many faults of the plan
    seed: int = 0


@dataclass(frozen=True)
class FailureStudy:
    """All that the cells share, and the cells."""

    mode: str = "virtual"  # or processes: each cell under an mpirun of its own
    network: str = "cnn"
    data: str = "made-up"
    test: str = ""
    rows: int = 10000
    test_rows: int = 1000
    step: float = 1e-2
    batch: int = 32
    backlog: str = "small-step"
    seconds: float = 15.0  # of each run
    detection: float = 1.0
    outage: float = 2.0  # of deaths that are not in the plan
    spares: int = 0  # ranks for such deaths; each planned one has its own
    evaluate: float = 0.5  # seconds between accuracies
    core_price: float = 0.05  # for an hour of a core
    out: str = "failure"  # .h5, .json and .png
    costs: VirtualCosts = field(default_factory=VirtualCosts)
    faults: tuple[Mapping[str, Any], ...] = ()
    cells: tuple[FailureCell, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("rows", 8), ("test_rows", 1), ("batch", 1), ("spares", 0), ("core_price", 0)):
            at_least(name, getattr(self, name), least)
        for name in ("step", "seconds", "detection", "outage", "evaluate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}")
        made(Network, self.network), made(Backlog, self.backlog)
        if not self.cells:
            raise ValueError(f"a study needs at least one [[grid]] with {', '.join(LISTS)}")
        for cell in self.cells:
            self.check(cell)

    def check(self, cell: FailureCell) -> None:
        """Refuse a cell that can not be run."""
        server_of(cell)
        at_least("workers", cell.workers, 1)
        at_least("seeds", cell.seed, 0)
        if not 0 <= cell.kills <= len(self.faults):
            raise ValueError(f"kills must be from 0 to {len(self.faults)}, the [[fault]] tables, not {cell.kills}")
        for planned in self.plan(cell):
            if planned.seconds is not None and planned.seconds + planned.outage >= self.seconds:
                ends = f"{planned.seconds:g} s and {planned.outage:g} s of outage"
                raise ValueError(f"a fault at {ends} outlasts the run of {self.seconds:g} s")

    def plan(self, cell: FailureCell) -> list[Fault]:
        """Give the deaths of a cell; random times are drawn from its seed."""
        draw = generator(cell.seed, RANDOM_FAULTS, 0, 0)
        found = [fault(block, self.seconds, draw) for block in self.faults]
        return found[: cell.kills]

    @property
    def rules(self) -> Rules:
        """Give the registry's times."""
        return Rules(self.seconds, self.detection, self.outage)

    def view(self, cell: FailureCell) -> View:
        """Give the roles at the start."""
        server = server_of(cell)
        return first(cell.workers, server.servers, server.stores, cell.kills + self.spares, cell.kills)

    def sets(self) -> Sets:
        """Read the data, and check that they suit the network."""
        sets = load(self.data, self.test, self.rows, self.test_rows, 0)
        made(Network, self.network).size(sets.train.shape)
        return sets

    def task(self, cell: FailureCell, sets: Sets) -> ServerTask:
        """Give what is learned in a cell."""
        network, backlog = made(Network, self.network), made(Backlog, self.backlog)
        return ServerTask(network, backlog, sets.train, self.step, self.batch, cell.seed)


def made(family: type[Any], text: str) -> Any:
    """Make a plug-in from its name and options."""
    chosen = parse_spec(text)
    known: Mapping[str, type[Plugin]] = family.known()
    return family.make(chosen.name, chosen.fitted(known))


def server_of(cell: FailureCell) -> Server:
    """Make the server of a cell."""
    server: Server = made(Server, cell.configuration)
    return server


def build(tree: Mapping[str, Any]) -> FailureStudy:
    """Make the study from a job's keys.

    Raises
    ------
    ValueError
        If a key is unknown, or a value is out of its range.
    """
    top = {key: value for key, value in tree.items() if key not in ("grid", "fault", "costs")}
    cells = tuple(dict.fromkeys(itertools.chain(*map(grid, tree.get("grid", ())))))
    known = fields(FailureStudy, top, "the job", apart=("cells", "faults", "costs"))
    return FailureStudy(**known, costs=costs(tree.get("costs", {})), faults=tuple(tree.get("fault", ())), cells=cells)


def costs(block: Mapping[str, Any]) -> VirtualCosts:
    """Read the table [costs]."""
    default = VirtualCosts()
    for key, value in block.items():
        if key not in default._fields:
            raise ValueError(f"[costs] has no key {key!r}; the keys are {', '.join(default._fields)}")
        if not float(coerce(key, value, 1.0)) >= 0.0 or (key == "bandwidth" and value == 0):  # type: ignore[arg-type]
            raise ValueError(f"[costs]: {key} must be a number of seconds, or of bytes a second; not {value}")
    return default._replace(**{key: float(value) for key, value in block.items()})


def grid(block: Mapping[str, Any]) -> list[FailureCell]:
    """Give the cells of one [[grid]]: all combinations of its lists."""
    block = {"workers": [1], "kills": [1], "seeds": [0], **block}
    for name in (*block, *LISTS):
        if name not in LISTS or not isinstance(block.get(name), list):
            raise ValueError(f"a [[grid]] has the lists {', '.join(LISTS)}; look at {name!r}")
    lists = [[coerce(name, item, kind) for item in block[name]] for name, kind in LISTS.items()]
    return [FailureCell(*one) for one in itertools.product(*lists)]  # type: ignore[arg-type]


def plain(job: FailureStudy) -> dict[str, Any]:
    """Give the job as plain values."""
    apart = ("cells", "costs", "faults")
    tree = {f.name: getattr(job, f.name) for f in dataclasses.fields(job) if f.name not in apart}
    return {**tree, "costs": job.costs._asdict(), "faults": [dict(block) for block in job.faults]}


def from_plain(tree: Mapping[str, Any]) -> FailureStudy:
    """Give the job back, with the cells that are listed."""
    apart = {
        "costs": VirtualCosts(**tree["costs"]),
        "faults": tuple(tree["faults"]),
        "cells": tuple(FailureCell(*cell) for cell in tree["cells"]),
    }
    return FailureStudy(**{**tree, **apart})
