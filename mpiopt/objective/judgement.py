"""What the certifier says of a model: a certificate, whether that ends the run, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mpiopt.objective.evaluation import Evaluation

GAP, DECREMENT, STANDARDISED = "duality gap", "Newton decrement", "standardised gradient"
EXACT = "exact to rounding"


class Certificate(NamedTuple):
    """A bound on how far a model is from the optimum; training stops when it is below the tolerance.

    Attributes
    ----------
    kind : str
        "duality gap": F − F* is at most this. "Newton decrement": F − F* is this, to first order. "standardised
        gradient": the decrement with the diagonal of the curvature only. With ", exact to rounding" where rounding
        ends all progress.
    value : float
        Relative to F(w) − floor.
    """

    kind: str
    value: float


class Judgement(NamedTuple):
    """What the certifier says of a model."""

    certificate: Certificate
    epochs: float  # that it cost
    exact: Evaluation  # of the model, which may be a better one now
    ending: str = ""  # "certified", "no optimum"
    reason: str = ""
    columns: tuple[int, ...] = ()  # whose weights grow for ever where no optimum exists


def list_columns(columns: Sequence[int], names: Sequence[str] | None = None) -> str:
    """Return columns in words: by their names, or by their numbers from 0.

    Examples
    --------
    >>> list_columns([1, 0]), list_columns([1, 0], ["age", "income"])
    ('columns 1, 0 (from 0)', 'columns income, age')
    """
    if names is None:
        return f"columns {', '.join(map(str, columns))} (from 0)"
    return f"columns {', '.join(names[j] for j in columns)}"
