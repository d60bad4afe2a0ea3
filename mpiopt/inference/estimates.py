"""Estimates with their uncertainty: what follows from coefficients and their covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import nearest
from mpiopt.inference.covariance import SINGULAR
from mpiopt.inference.distributions import chi_squared_tail, quantile, two_sided
from mpiopt.inference.goodness import Goodness, HypothesisTest

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LONGEST_LIST = 60  # characters of a list in a message
LEVELS = "[*]"  # after the title of a column: all its levels


class QuadraticForm(NamedTuple):
    """The value of a quadratic form, and the rank of its matrix."""

    value: float
    rank: int


@dataclass(frozen=True, eq=False)
class Estimates:
    """Coefficients with their covariance and the fit's measures; `mpiopt.inference.summary` describes the fields."""

    names: tuple[str, ...]
    coef: Vector
    covariance: Matrix
    covariance_kind: str
    df: float
    level: float
    loss: str
    penalty: str
    family: str
    link: str
    goodness: Goodness
    inflation: Vector
    notes: tuple[str, ...] = ()
    warning: str = ""

    @property
    def standard_errors(self) -> Vector:
        """Standard error of each estimate, (k,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def statistic(self) -> Vector:
        """Estimate over standard error, (k,): z, or t where `df` is finite."""
        return self.coef / self.standard_errors

    @property
    def p_values(self) -> Vector:
        """Two-sided p value of each estimate, (k,)."""
        return two_sided(self.statistic, self.df)

    @property
    def intervals(self) -> Matrix:
        """Lower and upper end of each confidence interval, (k, 2)."""
        half = quantile(self.level, self.df) * self.standard_errors
        return np.column_stack([self.coef - half, self.coef + half])

    def wald(self, names: Sequence[str]) -> HypothesisTest:
        """Test that the coefficients of these names are all 0; `region[*]` names all levels of a column.

        Raises
        ------
        ValueError
            If there is no such name.
        """
        chosen = list(dict.fromkeys(place for name in names for place in self._places(name)))
        if not chosen:
            raise ValueError(f"no names to test; there are {shortened(', '.join(self.names))}")
        statistic, rank = _quadratic_form(self.covariance[np.ix_(chosen, chosen)], self.coef[chosen])
        return HypothesisTest(statistic, rank, chi_squared_tail(statistic, rank))

    def _places(self, name: str) -> list[int]:
        """Return the parameters of a name; ValueError if there is none."""
        if name in self.names:
            return [self.names.index(name)]
        stem = name.removesuffix(LEVELS) + "["
        levels = [place for place, other in enumerate(self.names) if other.startswith(stem) and other.endswith("]")]
        if name.endswith(LEVELS) and levels:
            return levels
        hint = f" (did you mean {name + LEVELS!r}?)" if levels else nearest(name, self.names)
        raise ValueError(f"no parameter {name!r}{hint} to test; there are {shortened(', '.join(self.names))}")


def _quadratic_form(covariance: Matrix, estimates: Vector) -> QuadraticForm:
    """Return bᵀ C⁺ b and the rank of C: with a penalty, all levels of a column may have a singular covariance."""
    size = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(size, size))
    kept = values > SINGULAR * values[-1]
    along = (vectors.T @ (estimates / size))[kept]
    return QuadraticForm(float((along**2 / values[kept]).sum()), int(kept.sum()))


def shortened(listed: str) -> str:
    """Return a list, cut where it is too long for a message."""
    return listed if len(listed) <= LONGEST_LIST else listed[:LONGEST_LIST].rpartition(" ")[0] + " …"
