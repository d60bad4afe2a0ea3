"""The job of the study: synthetic data, budgets, and the cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mpiopt.algorithms.baselines.scaffnew import Scaffnew
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.core.config.job import at_least
from mpiopt.studies.job_file import check_positive, read_cells, read_fields

TEXTBOOK = Saga(preconditioner="none", batch=1, sampling="uniform", refresh=0.0, warm_start=False)
METHODS: dict[str, Saga | Scaffnew] = {
    **{variant: replace(TEXTBOOK, variant=variant) for variant in "ABCDE"},
    "refresh": replace(TEXTBOOK, refresh=2.0),  # B; every two epochs the table is computed anew at w̄
    # As `train` runs them, but from 0: the rounds of a warm start are counted nowhere.
    "chosen": Saga(preconditioner="none", warm_start=False),
    "metric": Saga(preconditioner="full", warm_start=False),  # steps with the common preconditioner
    "scaffnew": Scaffnew(),  # ProxSkip: whole gradients, H rows between exchanges on average
}
ADAPTIVE_ROUNDS = ("refresh", "chosen")  # H is that of the first rounds; rounds get shorter where ranks drift apart
ADAPTIVE_STEP = ("chosen", "metric", "scaffnew")  # methods that choose their step size themselves
ROUND = 0.25  # local epochs of a round without a preconditioner
SHARDS = ("shuffled", "sorted-by-label")
LOCAL_STEPS = re.compile(r"([1-9]\d*)|([1-9]\d*)?n(?:/([1-9]\d*))?")
LISTS = {"shards": None, "ranks": 1, "local_steps": None, "methods": None}


class SagaCell(NamedTuple):
    """One place of the table."""

    shards: str
    ranks: int
    local_steps: str  # "10", "n/4", "n", "4n": rows that a rank visits in a round
    method: str

    def visits(self, rows: int) -> int:
        """Return H, the local steps of a round, for a data set of the given number of rows."""
        return visits(self.local_steps, rows // self.ranks)


def visits(text: str, n: int) -> int:
    """Read `10`, `n`, `4n` or `n/4` for shards of n rows; at least 1.

    Raises
    ------
    ValueError
        If the text has another form.
    """
    match = LOCAL_STEPS.fullmatch(text)
    if match is None:
        raise ValueError(f"local_steps must be like 10, n, 4n or n/4, not {text!r}")
    rows, factor, divisor = match.groups()
    return int(rows) if rows else max(1, int(factor or 1) * n // int(divisor or 1))


def with_local_steps(cell: SagaCell, rows: int, method: Saga | Scaffnew) -> Saga | Scaffnew:
    """Return the method with the H of a cell, which is fixed or, with adaptive rounds, that of the first round."""
    h = cell.visits(rows)
    if cell.method not in ADAPTIVE_ROUNDS or cell.ranks == 1 or isinstance(method, Scaffnew):
        return replace(method, local_steps=h)
    return replace(method, stretch=h * cell.ranks / (rows * ROUND))


@dataclass(frozen=True)
class SagaStudy:
    """Synthetic logistic regression, budgets, and the cells."""

    rows: int = 8192  # N
    features: int = 32
    ridge: float = 1.0  # l2 in units of 1/N
    seed: int = 0
    seeds: tuple[int, ...] = ()  # all cells with each of them; none: with `seed`
    tol: float = 1e-8  # of (F − F*)/(F(0) − F*)
    max_epochs: float = 60.0
    gradient_epochs: float = 6000.0  # of scaffnew, whose rounds count and whose gradients are many
    repeats: int = 5  # runs with the best step, each with other random orders; the median counts
    steps: tuple[float, ...] = (0.5, 1.0, 0.25, 2.0, 0.125, 4.0)  # γ in units of 1/(3L), in the order of trying
    out: str = "saga-facts"  # path of the files without their suffix
    cells: tuple[SagaCell, ...] = ()

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 8)
        at_least("features", self.features, 1)
        at_least("repeats", self.repeats, 1)
        at_least("seed", self.seed, 0)
        check_positive(self, "ridge", "tol", "max_epochs", "gradient_epochs")
        if not self.steps or min(self.steps) <= 0:
            raise ValueError(f"steps must be numbers greater than 0, not {list(self.steps)}")
        for cell in self.cells:
            check(cell, self.rows)


def check(cell: SagaCell, rows: int) -> None:
    """Refuse a cell that cannot be run."""
    for name, allowed in (("shards", SHARDS), ("method", METHODS)):
        value = getattr(cell, name)
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if cell.ranks < 1 or rows % cell.ranks:
        raise ValueError(f"ranks must divide the {rows} rows; {cell.ranks} does not")
    cell.visits(rows)


def build(tree: Mapping[str, Any]) -> SagaStudy:
    """Make the study from a job's keys; ValueError for an unknown key or a value out of its range."""
    top = read_fields(SagaStudy, {k: v for k, v in tree.items() if k != "grid"}, "the job", apart=("cells",))
    return SagaStudy(**top, cells=read_cells(_cell, tree.get("grid", ()), LISTS))


def _cell(shards: str, ranks: int, local_steps: object, method: str) -> SagaCell:
    return SagaCell(shards, ranks, str(local_steps), method)
