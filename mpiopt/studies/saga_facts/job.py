"""The job of a study: which cells to run, on what made-up data, and how a cell's text is read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mpiopt.algorithms.saga.saga import Saga
from mpiopt.core.config.job import at_least
from mpiopt.core.config.spec import coerce
from mpiopt.studies.jobs import gridded

PLAIN = Saga(preconditioner="none", batch=1, sampling="uniform", refresh=0.0, warm_start=False)
METHODS = {
    **{variant: replace(PLAIN, variant=variant) for variant in "ABCDE"},
    "refresh": replace(PLAIN, refresh=2.0),  # B with the table filled anew at w̄ every two epochs, adaptive steps
    # As the program runs them, but from 0: the rounds of a warm start are counted nowhere.
    "chosen": Saga(preconditioner="none", warm_start=False),  # the plain form
    "metric": Saga(preconditioner="full", warm_start=False),  # steps in the common metric
}
SHORTENED = ("refresh", "chosen")  # H is that of the first rounds; the program shortens them where ranks drift apart
CHOSEN = ("chosen", "metric")  # methods whose step size the program chooses
QUARTER = 0.25  # of a local epoch: a round without a metric
SHARDS = ("shuffled", "sorted-by-label")
FORM = re.compile(r"([1-9]\d*)|([1-9]\d*)?n(?:/([1-9]\d*))?")  # of local_steps


class SagaCell(NamedTuple):
    """One place of the table."""

    shards: str
    ranks: int
    local_steps: str  # "10", "n/4", "n", "4n": rows that a rank visits in a round
    method: str

    def visits(self, rows: int) -> int:
        """Give H for a data set of so many rows."""
        return visits(self.local_steps, rows // self.ranks)


def visits(text: str, n: int) -> int:
    """Read `10`, `n`, `4n` or `n/4` for shards of n rows; at least 1.

    Raises
    ------
    ValueError
        If the text has another form.
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"local_steps are like 10, n, 4n or n/4, not {text!r}")
    rows, factor, divisor = match.groups()
    return int(rows) if rows else max(1, int(factor or 1) * n // int(divisor or 1))


def rounds_of(cell: SagaCell, rows: int, method: Saga) -> Saga:
    """Give the method with the H of a cell: by hand, or as the first one where the program goes on from it."""
    h = cell.visits(rows)
    if cell.method not in SHORTENED or cell.ranks == 1:
        return replace(method, local_steps=h)
    return replace(method, stretch=h * cell.ranks / (rows * QUARTER))


@dataclass(frozen=True)
class SagaStudy:
    """Made-up logistic data, budgets, and the cells."""

    rows: int = 8192  # N
    features: int = 32
    ridge: float = 1.0  # l2 in units of 1/N
    seed: int = 0
    tol: float = 1e-8  # of (F − F*)/(F(0) − F*)
    max_epochs: float = 60.0
    repeats: int = 5  # runs with the best step, each with other random orders; the median counts
    steps: tuple[float, ...] = (0.5, 1.0, 0.25, 2.0, 0.125, 4.0)  # γ in units of 1/(3L), in the order of trying
    out: str = "saga-facts"  # .json and .png
    cells: tuple[SagaCell, ...] = ()

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 8)
        at_least("features", self.features, 1)
        at_least("repeats", self.repeats, 1)
        at_least("seed", self.seed, 0)
        for name in ("ridge", "tol", "max_epochs"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if not self.steps or min(self.steps) <= 0:
            raise ValueError(f"steps must be numbers greater than 0, not {list(self.steps)}")
        if not self.cells:
            raise ValueError("a study needs at least one [[grid]] with ranks, local_steps, shards and methods")
        for cell in self.cells:
            check(cell, self.rows)


def check(cell: SagaCell, rows: int) -> None:
    """Refuse a cell that can not be run."""
    for name, allowed in (("shards", SHARDS), ("method", METHODS)):
        value = getattr(cell, name)
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if cell.ranks < 1 or rows % cell.ranks:
        raise ValueError(f"ranks must divide the {rows} rows; {cell.ranks} does not")
    cell.visits(rows)


def build(tree: Mapping[str, Any]) -> SagaStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    made: SagaStudy = gridded(SagaStudy, tree, cells)
    return made


def cells(block: Mapping[str, Any]) -> list[SagaCell]:
    """Give the cells of one [[grid]]: all combinations of its four lists."""
    names = ("shards", "ranks", "local_steps", "methods")
    for name in (*block, *names):
        if name not in names or not isinstance(block.get(name), list):
            raise ValueError(f"a [[grid]] has the lists {', '.join(names)}; look at {name!r}")
    ranks = [coerce("ranks", k, 1) for k in block["ranks"]]
    steps = [str(h) for h in block["local_steps"]]
    return [SagaCell(*c) for c in itertools.product(block["shards"], ranks, steps, block["methods"])]  # type: ignore[arg-type]
