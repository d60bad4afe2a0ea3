"""The job of the study: the data, the budget, and which algorithms on which graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpiopt.algorithms.base import Algorithm
from mpiopt.consensus.digraph import Graph
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import at_least
from mpiopt.core.config.spec import PluginSpec, parse_spec
from mpiopt.studies.job_file import make_plugin, read_cells, read_fields
from mpiopt.studies.stepsize.synthetic import check_problem
from mpiopt.training.problem import make_algorithm

LISTS = {"ranks": 1, "topologies": "", "spreads": 1.0, "algorithms": ""}


class DecentralisedCell(NamedTuple):
    """One run."""

    ranks: int
    topology: str
    spread: float  # largest smoothness L_i of a rank / least
    algorithm: str  # with its options except the topology


@dataclass(frozen=True)
class DecentralisedStudy:
    """Synthetic least squares, budgets, and the cells."""

    data: str = ""  # a file of two classes, for logistic regression; none: made-up least squares
    rows: int = 50  # of each rank
    features: int = 10
    condition: float = 20.0  # condition number of the curvature of each rank
    seed: int = 0
    seeds: tuple[int, ...] = ()  # all cells with each of them; none: with `seed`
    tols: tuple[float, ...] = (1e-6, 1e-9)  # of (F − F*)/(F(0) − F*) at the worst rank
    max_iterations: int = 4000
    out: str = "decentralised"  # path of the files without their suffix
    cells: tuple[DecentralisedCell, ...] = ()

    def __post_init__(self) -> None:
        check_problem(self)
        if not self.tols or not all(0.0 < tol < 1.0 for tol in self.tols):
            raise ValueError(f"tols must be numbers between 0 and 1, not {list(self.tols)}")
        for cell in self.cells:
            at_least("spreads", cell.spread, 1)
            if self.data and cell.spread != 1:
                raise ValueError(f"spreads must be [1] with the rows of a file, not {cell.spread:g}")
            algorithm_of(cell)
            graph_of(cell)


def graph_of(cell: DecentralisedCell) -> Graph:
    """Return the graph of a cell."""
    topology: Topology = make_plugin(Topology, cell.topology)
    return topology.graph(cell.ranks)


def algorithm_of(cell: DecentralisedCell) -> Algorithm[Any]:
    """Make the algorithm of a cell on its graph."""
    chosen = parse_spec(cell.algorithm)
    if "topology" in chosen.options or "topology" not in known(chosen.name):
        raise ValueError(
            f"algorithms must run on graphs and leave topology to the list topologies; {cell.algorithm} does not"
        )
    return make_algorithm(PluginSpec(chosen.name, {**chosen.options, "topology": cell.topology}))


def known(name: str) -> Mapping[str, Any]:
    """Return the options of an algorithm; ValueError if there is none of that name."""
    if name not in Algorithm.known():
        make_algorithm(PluginSpec(name))
    return Algorithm.known()[name].options()


def build(tree: Mapping[str, Any]) -> DecentralisedStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    top = read_fields(DecentralisedStudy, {k: v for k, v in tree.items() if k != "grid"}, "the job", apart=("cells",))
    return DecentralisedStudy(**top, cells=read_cells(DecentralisedCell, tree.get("grid", ()), LISTS))
