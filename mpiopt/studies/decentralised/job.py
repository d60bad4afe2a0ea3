"""The job of the study: the data, the budget, and which algorithms on which graphs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpiopt.algorithms.base import Algorithm
from mpiopt.consensus.digraph import Graph
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import at_least
from mpiopt.core.config.spec import PluginSpec, coerce, name_and_options, parse_spec
from mpiopt.studies.jobs import gridded
from mpiopt.studies.stepsize.synthetic import check_sizes
from mpiopt.training.problem import make_algorithm

LISTS = ("ranks", "topologies", "spreads", "algorithms")


class DecentralisedCell(NamedTuple):
    """One run."""

    ranks: int
    topology: str
    spread: float  # of the smoothness: the largest L_i over the least
    algorithm: str  # with its options, but for the topology


@dataclass(frozen=True)
class DecentralisedStudy:
    """Made-up least squares, budgets, and the cells."""

    rows: int = 50  # of each rank
    features: int = 10
    condition: float = 20.0  # of each rank's curvature, in the mean over its rows
    seed: int = 0
    tols: tuple[float, ...] = (1e-6, 1e-9)  # of (F − F*)/(F(0) − F*), that of the worst rank
    max_iterations: int = 4000
    out: str = "decentralised"  # .json and .png
    cells: tuple[DecentralisedCell, ...] = ()

    def __post_init__(self) -> None:
        check_sizes(self.rows, self.features, self.condition)
        at_least("seed", self.seed, 0)
        at_least("max_iterations", self.max_iterations, 1)
        if not self.tols or not all(0.0 < tol < 1.0 for tol in self.tols):
            raise ValueError(f"tols must be numbers between 0 and 1, not {list(self.tols)}")
        if not self.cells:
            raise ValueError(f"a study needs at least one [[grid]] with {', '.join(LISTS)}")
        for cell in self.cells:
            if not cell.spread >= 1.0:
                raise ValueError(f"spreads must be at least 1, not {cell.spread}")
            algorithm_of(cell)
            graph_of(cell)


def graph_of(cell: DecentralisedCell) -> Graph:
    """Give the graph of a cell."""
    return Topology.make(*name_and_options(cell.topology, Topology.known())).graph(cell.ranks)


def algorithm_of(cell: DecentralisedCell) -> Algorithm[Any]:
    """Make the algorithm of a cell on its graph."""
    chosen = parse_spec(cell.algorithm)
    if "topology" in chosen.options or "topology" not in known(chosen.name):
        raise ValueError(f"algorithms go along the graphs of the list topologies, not {cell.algorithm}")
    return make_algorithm(PluginSpec(chosen.name, {**chosen.options, "topology": cell.topology}))


def known(name: str) -> Mapping[str, Any]:
    """Give the options of an algorithm; ValueError where there is none of that name."""
    if name not in Algorithm.known():
        make_algorithm(PluginSpec(name))
    return Algorithm.known()[name].options()


def build(tree: Mapping[str, Any]) -> DecentralisedStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    made: DecentralisedStudy = gridded(DecentralisedStudy, tree, cells)
    return made


def cells(block: Mapping[str, Any]) -> list[DecentralisedCell]:
    """Give the cells of one [[grid]]: all combinations of its lists."""
    for name in (*block, *LISTS):
        if name not in LISTS or not isinstance(block.get(name), list):
            raise ValueError(f"a [[grid]] has the lists {', '.join(LISTS)}; look at {name!r}")
    like = {"ranks": 1, "topologies": "", "spreads": 1.0, "algorithms": ""}
    lists = [[coerce(name, value, like[name]) for value in block[name]] for name in LISTS]
    return [DecentralisedCell(*one) for one in itertools.product(*lists)]  # type: ignore[arg-type]
