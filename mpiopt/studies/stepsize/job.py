"""The job of the study: the data, the budget, and which rules on which graphs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpiopt.algorithms.decentralised.dlas import FORMS
from mpiopt.algorithms.step_sizes.adgd import AdgdOptions
from mpiopt.algorithms.step_sizes.base import StepSize
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import at_least
from mpiopt.core.config.spec import PluginSpec, coerce, name_and_options, parse_spec
from mpiopt.studies.jobs import gridded
from mpiopt.studies.stepsize.synthetic import check_sizes

LISTS = ("ranks", "topologies", "spreads", "methods", "coordinators", "forms")
OPTIONAL = {"coordinators": ["finite-field"], "forms": ["merged"]}
TUNED = ("alpha", "kappa")  # options of a method that are not the rule's


class StepSizeCell(NamedTuple):
    """One run."""

    ranks: int
    topology: str
    spread: float  # of the smoothness: the largest L_i over the least
    method: str  # a rule, with alpha and kappa among its options: mean[alpha=0.25]
    coordinator: str = "finite-field"
    form: str = "merged"


@dataclass(frozen=True)
class StepSizeStudy:
    """Made-up least squares, budgets, and the cells."""

    rows: int = 50  # of each rank
    features: int = 10
    condition: float = 20.0  # of each rank's curvature, in the mean over its rows
    seed: int = 0
    first_step: float = 1e-3  # η_i of the first round, on all ranks
    tol: float = 1e-9  # of (F − F*)/(F(0) − F*)
    max_iterations: int = 1000
    out: str = "stepsize"  # .json and .png
    cells: tuple[StepSizeCell, ...] = ()

    def __post_init__(self) -> None:
        check_sizes(self.rows, self.features, self.condition)
        at_least("seed", self.seed, 0)
        at_least("max_iterations", self.max_iterations, 1)
        for name in ("first_step", "tol"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if not self.cells:
            raise ValueError(f"a study needs at least one [[grid]] with {', '.join(LISTS)}")
        for cell in self.cells:
            check(cell)


def check(cell: StepSizeCell) -> None:
    """Refuse a cell that can not be run."""
    if not cell.spread >= 1.0:
        raise ValueError(f"spreads must be at least 1, not {cell.spread}")
    if cell.form not in FORMS:
        raise ValueError(f"forms must be of {', '.join(FORMS)}, not {cell.form!r}")
    coordinator_of(cell)
    topology_of(cell).graph(cell.ranks)
    rule_of(cell.method, 1.0), tuning_of(cell.method)


def coordinator_of(cell: StepSizeCell) -> Coordinator:
    """Make the coordinator of a cell."""
    return Coordinator.make(*name_and_options(cell.coordinator, Coordinator.known()))


def topology_of(cell: StepSizeCell) -> Topology:
    """Make the topology of a cell."""
    return Topology.make(*name_and_options(cell.topology, Topology.known()))


def rule_of(method: str, smoothness: float) -> StepSize:
    """Make the rule of a method; `fixed` without a value is 1/L."""
    chosen = parse_spec(method)
    options = {k: v for k, v in chosen.options.items() if k not in TUNED}
    if chosen.name == "fixed" and not options:
        options = {"value": 1.0 / smoothness}
    return StepSize.make(chosen.name, PluginSpec(chosen.name, options).fitted(StepSize.known())).checked_for("dlas")


def tuning_of(method: str) -> AdgdOptions:
    """Give α and κ of a method."""
    chosen = {k: v for k, v in parse_spec(method).options.items() if k in TUNED}
    return AdgdOptions(**{k: float(coerce(f"{method}: {k}", v, 0.5)) for k, v in chosen.items()})  # type: ignore[arg-type]


def build(tree: Mapping[str, Any]) -> StepSizeStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    made: StepSizeStudy = gridded(StepSizeStudy, tree, cells)
    return made


def cells(block: Mapping[str, Any]) -> list[StepSizeCell]:
    """Give the cells of one [[grid]]: all combinations of its lists."""
    block = {**OPTIONAL, **block}
    for name in (*block, *LISTS):
        if name not in LISTS or not isinstance(block.get(name), list):
            raise ValueError(f"a [[grid]] has the lists {', '.join(LISTS)}; look at {name!r}")
    ranks = [coerce("ranks", k, 1) for k in block["ranks"]]
    spreads = [coerce("spreads", s, 1.0) for s in block["spreads"]]
    words = [
        [str(coerce(name, w, "")) for w in block[name]] for name in ("topologies", "methods", "coordinators", "forms")
    ]
    topologies, methods, coordinators, forms = words
    found = itertools.product(ranks, topologies, spreads, methods, coordinators, forms)
    return [StepSizeCell(*one) for one in found]  # type: ignore[arg-type]
