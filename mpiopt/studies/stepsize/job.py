"""The job of the study: the data, the budget, and which rules on which graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpiopt.algorithms.decentralised.dlas import FORMS
from mpiopt.algorithms.step_sizes.adgd import AdgdOptions
from mpiopt.algorithms.step_sizes.base import StepSize
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import at_least
from mpiopt.core.config.spec import PluginSpec, coerce, parse_spec
from mpiopt.studies.job_file import check_positive, make_plugin, read_cells, read_fields
from mpiopt.studies.stepsize.synthetic import check_problem

LISTS = {"ranks": 1, "topologies": "", "spreads": 1.0, "methods": "", "coordinators": "", "forms": ""}
DEFAULTS = {"coordinators": ["finite-field"], "forms": ["merged"]}
TUNING = ("alpha", "kappa")  # options of a method that belong to DLAS and not to the rule


class StepSizeCell(NamedTuple):
    """One run."""

    ranks: int
    topology: str
    spread: float  # largest smoothness L_i of a rank / least
    method: str  # a rule with its options, alpha and kappa among them: mean[alpha=0.25]
    coordinator: str = "finite-field"
    form: str = "merged"


@dataclass(frozen=True)
class StepSizeStudy:
    """Synthetic least squares, budgets, and the cells."""

    rows: int = 50  # of each rank
    features: int = 10
    condition: float = 20.0  # condition number of the curvature of each rank
    seed: int = 0
    seeds: tuple[int, ...] = ()  # all cells with each of them; none: with `seed`
    first_step: float = 1e-3  # η_i of the first round, on all ranks
    tol: float = 1e-9  # of (F − F*)/(F(0) − F*)
    max_iterations: int = 1000
    out: str = "stepsize"  # path of the files without their suffix
    cells: tuple[StepSizeCell, ...] = ()

    def __post_init__(self) -> None:
        check_problem(self)
        check_positive(self, "first_step", "tol")
        for cell in self.cells:
            check(cell)


def check(cell: StepSizeCell) -> None:
    """Refuse a cell that cannot be run."""
    at_least("spreads", cell.spread, 1)
    if cell.form not in FORMS:
        raise ValueError(f"forms must be some of {', '.join(FORMS)}, not {cell.form!r}")
    make_plugin(Coordinator, cell.coordinator)
    make_plugin(Topology, cell.topology).graph(cell.ranks)
    rule_of(cell.method, 1.0), tuning_of(cell.method)


def rule_of(method: str, smoothness: float) -> StepSize:
    """Make the step-size rule of a method; `fixed` without a value is 1/L."""
    chosen = parse_spec(method)
    options = {k: v for k, v in chosen.options.items() if k not in TUNING}
    if chosen.name == "fixed" and not options:
        options = {"value": 1.0 / smoothness}
    return StepSize.make(chosen.name, PluginSpec(chosen.name, options).fitted(StepSize.known())).checked_for("dlas")


def tuning_of(method: str) -> AdgdOptions:
    """Return α and κ of a method."""
    chosen = {k: v for k, v in parse_spec(method).options.items() if k in TUNING}
    return AdgdOptions(**{k: float(coerce(f"{method}: {k}", v, 0.5)) for k, v in chosen.items()})  # type: ignore[arg-type]


def build(tree: Mapping[str, Any]) -> StepSizeStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    top = read_fields(StepSizeStudy, {k: v for k, v in tree.items() if k != "grid"}, "the job", apart=("cells",))
    return StepSizeStudy(**top, cells=read_cells(StepSizeCell, tree.get("grid", ()), LISTS, DEFAULTS))
