"""The problem of a path: its bounds, groups and matrix, and where it may begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Model
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.objective import Objective
from mpiopt.training.coefficient_bounds import bounds_of_file, is_bounded
from mpiopt.training.path_follow import Frame
from mpiopt.training.problem import penalty
from mpiopt.training.structure import structured


@dataclass(frozen=True, eq=False)
class PosedPath:
    """The problem of a path; the penalty of both objectives is that of the strength 1.

    Attributes
    ----------
    given : Objective
        In the columns of the rows in memory.
    posed : Objective
        In those in which the algorithm works: the basis of a ridge with a matrix, or the same.
    frame : Frame
        From the latter to the columns of the file.
    """

    given: Objective
    posed: Objective
    frame: Frame


def refuse_l1_beside_matrix(model: Model, l1_ratio: float) -> None:
    """Raise ValueError if a path with a ridge matrix has an l1."""
    if model.ridge_matrix and l1_ratio:
        raise ValueError(f"a path with a ridge_matrix is one of ridges: set l1_ratio to 0, not {l1_ratio:g}")


def posed_path(
    objective: Objective,
    model: Model,
    frame: Frame,
    names: Sequence[str] | None,
    l1_ratio: float,
    comm: Comm,
    matrix: ArrayLike | None = None,
) -> PosedPath:
    """Return the problem of a path; collective.

    Parameters
    ----------
    objective, model, names, comm, matrix
        As of `structured`.
    frame : Frame
        Of the rows in memory.
    l1_ratio : float
        Share of the strength that is l1.

    Raises
    ------
    ValueError
        On all ranks: as `structured`, or bounds that forbid the model 0, with which a path begins.
    """
    refuse_l1_beside_matrix(model, l1_ratio)
    unit = replace(objective, penalty=penalty(l1_ratio, 1.0 - l1_ratio))
    units = ColumnUnits.of(*frame[:3], objective.shard.intercept)
    given, basis = structured(unit, model, units, names, comm, matrix)
    if is_bounded(model, names):
        bounds = bounds_of_file(model, objective.shard.features, names)
        outside = np.flatnonzero((bounds.lower > 0.0) | (bounds.upper < 0.0))
        if len(outside):
            title = f"x{outside[0] + 1}" if names is None else names[outside[0]]
            raise ValueError(
                f"a path begins with all coefficients 0, which the bounds of {title} forbid; choose the penalty by a "
                "sweep with folds (mpiopt sweep)"
            )
        frame = frame._replace(bounds=bounds)
    return PosedPath(given, given if basis is None else basis.posed, frame._replace(basis=basis))
