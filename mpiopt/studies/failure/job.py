"""The job of the study: the problem, the times, the planned deaths, the cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mpiopt.core.config.job import at_least
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.rng import generator
from mpiopt.studies.job_file import as_plain, check_positive, make_plugin, read_cells, read_fields
from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.networks.base import Network
from mpiopt.studies.parameter_server.runtime.examples import Sets, load
from mpiopt.studies.parameter_server.runtime.faults import Fault, fault
from mpiopt.studies.parameter_server.runtime.registry import Timing
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import View, initial_view
from mpiopt.studies.parameter_server.runtime.virtual import VirtualCosts
from mpiopt.studies.parameter_server.servers.base import Server

MODES = ("virtual", "processes")
RANDOM_FAULTS = 105  # stream of random numbers
LISTS = {"configurations": "", "workers": 1, "kills": 1, "seeds": 0}
DEFAULTS = {"workers": [1], "kills": [1], "seeds": [0]}


class FailureCell(NamedTuple):
    """One run."""

    configuration: str  # a server with its options: sync-chain[replicas=2]
    workers: int = 1
    kills: int = 1  # number of planned faults that happen, in their order
    seed: int = 0

    @property
    def family(self) -> str:
        """The configuration without its options."""
        return parse_spec(self.configuration).name

    @property
    def text(self) -> str:
        """The name of the run."""
        kills = "no kill" if self.kills == 0 else f"{self.kills} kill{'s' if self.kills > 1 else ''}"
        return f"{self.configuration} W={self.workers} {kills} seed {self.seed}"


@dataclass(frozen=True)
class FailureStudy:
    """What all cells share, and the cells."""

    mode: str = "virtual"  # or "processes": each cell under its own mpirun
    network: str = "cnn"
    data: str = "made-up"
    test: str = ""
    rows: int = 10000
    test_rows: int = 1000
    step: float = 1e-2  # η
    batch: int = 32
    backlog: str = "small-step"
    seconds: float = 15.0  # length of each run
    detection: float = 1.0  # seconds of silence after which a rank is dead
    outage: float = 2.0  # seconds between an unplanned death and its replacement
    spares: int = 0  # spare ranks for unplanned deaths; each planned death has its own
    evaluate: float = 0.5  # seconds between two accuracies
    core_price: float = 0.05  # per core and hour
    out: str = "failure"  # path of the files without their suffix
    costs: VirtualCosts = field(default_factory=VirtualCosts)
    faults: tuple[Mapping[str, Any], ...] = ()
    cells: tuple[FailureCell, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("rows", 8), ("test_rows", 1), ("batch", 1), ("spares", 0), ("core_price", 0)):
            at_least(name, getattr(self, name), least)
        check_positive(self, "step", "seconds", "detection", "outage", "evaluate")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}")
        make_plugin(Network, self.network), make_plugin(Backlog, self.backlog)
        for cell in self.cells:
            self.check(cell)

    def check(self, cell: FailureCell) -> None:
        """Refuse a cell that cannot be run."""
        server_of(cell)
        at_least("workers", cell.workers, 1)
        at_least("seeds", cell.seed, 0)
        at_least("kills", cell.kills, 0)
        if cell.kills > len(self.faults):
            most = len(self.faults)
            raise ValueError(f"kills must be at most {most}, the number of [[fault]] tables, not {cell.kills}")
        for planned in self.plan(cell):
            if planned.seconds is not None and planned.seconds + planned.outage >= self.seconds:
                ends = f"{planned.seconds:g} s with an outage of {planned.outage:g} s"
                raise ValueError(f"a fault at {ends} outlasts the run of {self.seconds:g} s; set a larger seconds")

    def plan(self, cell: FailureCell) -> list[Fault]:
        """Return the planned deaths of a cell; random times are drawn from its seed."""
        draw = generator(cell.seed, RANDOM_FAULTS, 0, 0)
        faults = [fault(block, self.seconds, draw) for block in self.faults]
        return faults[: cell.kills]

    @property
    def timing(self) -> Timing:
        """The times of the registry."""
        return Timing(self.seconds, self.detection, self.outage)

    def view(self, cell: FailureCell) -> View:
        """Return the roles at the start."""
        server = server_of(cell)
        return initial_view(cell.workers, server.servers, server.stores, cell.kills + self.spares, cell.kills)

    def sets(self) -> Sets:
        """Read the data and check that they fit the network."""
        sets = load(self.data, self.test, self.rows, self.test_rows, 0)
        make_plugin(Network, self.network).size(sets.train.shape)
        return sets

    def task(self, cell: FailureCell, sets: Sets) -> ServerTask:
        """Return what is learned in a cell."""
        network, backlog = make_plugin(Network, self.network), make_plugin(Backlog, self.backlog)
        return ServerTask(network, backlog, sets.train, self.step, self.batch, cell.seed)


def server_of(cell: FailureCell) -> Server:
    """Make the server of a cell."""
    server: Server = make_plugin(Server, cell.configuration)
    return server


def build(tree: Mapping[str, Any]) -> FailureStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    top = {key: value for key, value in tree.items() if key not in ("grid", "fault", "costs")}
    known = read_fields(FailureStudy, top, "the job", apart=("cells", "faults", "costs"))
    costs = VirtualCosts(**read_fields(VirtualCosts, tree.get("costs", {}), "[costs]"))
    cells = read_cells(FailureCell, tree.get("grid", ()), LISTS, DEFAULTS)
    return FailureStudy(**known, costs=costs, faults=tuple(tree.get("fault", ())), cells=cells)


def plain(job: FailureStudy) -> dict[str, Any]:
    """Return the job without its cells as plain values."""
    tree = as_plain(job, "costs", "faults")
    return {**tree, "costs": vars(job.costs), "faults": [dict(block) for block in job.faults]}


def from_plain(tree: Mapping[str, Any]) -> FailureStudy:
    """Return the job whose plain values, with the list of its cells, are given."""
    apart = {
        "costs": VirtualCosts(**tree["costs"]),
        "faults": tuple(tree["faults"]),
        "cells": tuple(FailureCell(*cell) for cell in tree["cells"]),
    }
    return FailureStudy(**{**tree, **apart})
