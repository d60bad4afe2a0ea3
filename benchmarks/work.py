"""Count the work of fits: numbers of the rows visited, products, factorisations. Counts are equal on every machine.

    with counted() as work:
        fit(x, y)
    work.seconds()

The functions that pass over rows or factor matrices are replaced by ones that count and then call them. What one of
them does inside another is not counted twice. Seconds are those of the cost model (`mpiopt.algorithms.cost_model`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any
from unittest import mock

import numpy as np

from mpiopt.algorithms.cost_model import COSTS, PASSES
from mpiopt.data.shard import CsrRows, DenseRows, Rows

_SQUARE_NUMBER = 0.1e-9  # seconds for each number of a matrix in a product with a vector; it is in the cache
_COUNTING = threading.local()


@dataclass
class Work:
    """What was done on all ranks; where `thread` is the number of a thread, on the rank in that thread."""

    thread: int = 0
    dense: float = 0.0  # numbers of dense rows
    sparse: float = 0.0  # numbers of sparse rows
    rows: float = 0.0
    multiply_adds: float = 0.0  # of matrix products over dense rows
    pairs: float = 0.0  # of nonzeros of one row
    factors: float = 0.0  # multiply-adds of Cholesky factorisations
    inverses: float = 0.0  # multiply-adds of inverses
    history: float = 0.0  # numbers of the pairs of L-BFGS
    squares: float = 0.0  # numbers of matrices in products with vectors

    def seconds(self) -> float:
        """Return the modelled seconds on one core."""
        passes = COSTS.number * self.dense + COSTS.sparse_number * self.sparse + COSTS.row * self.rows
        matrices = COSTS.multiply_add * self.multiply_adds + COSTS.pair * self.pairs
        solves = COSTS.factor * self.factors + COSTS.inverse * self.inverses + _SQUARE_NUMBER * self.squares
        return passes + matrices + solves + COSTS.history * self.history

    def numbers(self) -> float:
        """Return the numbers of the rows that were visited."""
        return self.dense + self.sparse

    def visit(self, rows: Rows, times: float, part: float = 1.0) -> None:
        """Count a pass over a part of the rows for so many outputs."""
        numbers = rows.values.size * times * part
        if isinstance(rows, DenseRows):
            self.dense += numbers
        else:
            self.sparse += numbers
        self.rows += len(rows) * times * part


@contextmanager
def counted() -> Iterator[Work]:
    """Count the work of the block, on all ranks in threads, without what is compiled on made-up rows before a run."""
    work, lock = Work(), threading.Lock()
    with ExitStack() as stack:
        stack.enter_context(mock.patch("mpiopt.training.rehearsal.rehearse", return_value=None))
        for place, count in _PLACES.items():
            stack.enter_context(mock.patch(place, _counting(resolve_name(place), count, work, lock)))
        yield work


def _counting(real: Callable[..., Any], count: Callable[..., None], work: Work, lock: Any) -> Callable[..., Any]:
    """Return a function that counts a call unless it is made inside another one that counts."""

    def call(*args: Any, **named: Any) -> Any:
        if getattr(_COUNTING, "inside", False):
            return real(*args, **named)
        if work.thread in (0, threading.get_ident()):
            with lock:
                count(work, *args, **named)
        _COUNTING.inside = True
        try:
            return real(*args, **named)
        finally:
            _COUNTING.inside = False

    return call


def _gram(work: Work, rows: Rows, c: Any) -> None:
    work.visit(rows, 1.0)
    dense = float(len(rows)) * rows.width**2
    if isinstance(rows, CsrRows):
        pairs = float((np.diff(rows.indptr).astype(np.float64) ** 2).sum())
        if COSTS.pair * pairs < COSTS.multiply_add * dense:
            work.pairs += pairs
            return
    work.multiply_adds += dense


def _classes(work: Work, objective: Any, *rest: Any) -> None:
    n, unknowns = len(objective.shard), objective.outputs * objective.width
    work.multiply_adds += float(n) * unknowns**2


def _classes_of_set(work: Work, part: Any, *rest: Any) -> None:
    work.multiply_adds += len(part.objective.shard) * float(part.chosen.sum()) ** 2


def _plain_steps(work: Work, objective: Any, call: Any, *rest: Any) -> None:
    visited = len(call.starts) * call.batch / max(1, len(objective.shard))
    work.visit(objective.shard.rows, PASSES.saga_plain_pass * objective.outputs, visited)


def _blocks(work: Work, steps: Any, state: Any, objective: Any, rest: Any, order: Any, factors: Any) -> None:
    visited = len(order) * steps.block / max(1, len(objective.shard))
    work.visit(objective.shard.rows, 2.0 * objective.outputs, visited)
    work.squares += 2.0 * len(order) * steps.preconditioner.inverse.size


def _descend(work: Work, h: Any, *rest: Any) -> None:
    work.squares += float(rest[-1]) * float(np.count_nonzero(rest[1])) * len(h)


def _losses(work: Work, margins: Any, times: float) -> None:
    work.rows += times * margins.size


def _pairs(work: Work, steps: Any) -> None:
    work.history += steps.size


def _times(work: Work, inverse: Any, g: Any) -> None:
    work.squares += inverse.size


_PLACES: dict[str, Callable[..., None]] = {
    "mpiopt.objective.passes._pass": lambda work, rows, y, s, w, *rest: work.visit(rows, len(w)),
    "mpiopt.objective.passes.margins": lambda work, rows, w: work.visit(rows, 0.5 * len(w)),
    "mpiopt.objective.passes.gram": _gram,
    "mpiopt.objective.passes.squared_norms": lambda work, rows, *rest: work.visit(rows, 0.5),
    "mpiopt.objective.passes.column_squares": lambda work, rows, c: work.visit(rows, 0.5),
    "mpiopt.objective.passes.weighted_row_sum": lambda work, rows, t: work.visit(rows, 0.5 * t.shape[1]),
    "mpiopt.objective.passes.chosen_columns": lambda work, rows, columns: work.visit(
        rows, len(columns) / rows.width if isinstance(rows, DenseRows) else 0.5
    ),
    "mpiopt.objective.row_hessians.RowHessians.product": lambda work, hessians, p: work.visit(
        hessians.objective.shard.rows, len(p)
    ),
    "mpiopt.algorithms.second_order.margin_search._at": lambda work, t, line, *rest: _losses(work, line.along, 1.0),
    "mpiopt.algorithms.second_order.newton_cg.minimise_intercept": lambda work, loss, z, *rest: _losses(work, z, 4.0),
    "mpiopt.objective.curvature.across_classes": _classes,
    "mpiopt.algorithms.preconditioner.across_classes": _classes,
    "mpiopt.objective.restriction.Restriction._across_classes": _classes_of_set,
    "mpiopt.algorithms.saga.plain_steps.local_steps": _plain_steps,
    "mpiopt.algorithms.saga.preconditioned_steps.PreconditionedSteps._kernel": _blocks,
    "mpiopt.algorithms.second_order.l1_quadratic.descend": _descend,
    "mpiopt.algorithms.second_order.lbfgs.two_loop": lambda work, s, *rest, **named: _pairs(work, s),
    "mpiopt.algorithms.second_order.lbfgs.times": _times,
    "mpiopt.algorithms.second_order.newton_cg.times": _times,
    "numpy.linalg.cholesky": lambda work, a: setattr(work, "factors", work.factors + len(a) ** 3 / 3.0),
    "numpy.linalg.inv": lambda work, a: setattr(work, "inverses", work.inverses + float(len(a)) ** 3),
}
