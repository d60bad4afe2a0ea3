"""What a model asks of its coefficients beside l1 and l2: bounds, groups of columns, a ridge with a matrix."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Model
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.objective import Objective
from mpiopt.training.coefficient_bounds import with_bounds
from mpiopt.training.lasso_groups import with_groups
from mpiopt.training.ridge_matrix import RidgeBasis, ridge_basis


def structured(
    objective: Objective,
    model: Model,
    units: ColumnUnits,
    names: Sequence[str] | None,
    comm: Comm,
    matrix: ArrayLike | None = None,
) -> tuple[Objective, RidgeBasis | None]:
    """Return the objective with the bounds and groups of a model, and the basis of its matrix; collective.

    Parameters
    ----------
    objective : Objective
        With loss and penalty alone.
    model : Model
        As the user gave it.
    units : ColumnUnits
        From the columns of the objective to those of the file.
    names : sequence of str, optional
        Of the columns.
    comm : Comm
        The ranks.
    matrix : array, shape (d, d), optional
        In place of the file of the matrix.

    Raises
    ------
    ValueError
        On all ranks: as `with_bounds`, `with_groups` and `ridge_basis`.
    """
    with comm.agree_on_errors():
        objective = bounded_and_grouped(objective, model, units, names)
    return objective, ridge_basis(objective, model, names, matrix, comm)


def bounded_and_grouped(
    objective: Objective, model: Model, units: ColumnUnits, names: Sequence[str] | None
) -> Objective:
    """Return the objective with the bounds and groups of a model; local."""
    return with_groups(with_bounds(objective, model, units.size, names), model, names)
