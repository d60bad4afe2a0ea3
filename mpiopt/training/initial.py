"""Start from a model: its coefficients are matched by the names of columns and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.objective import Objective
from mpiopt.results.model import FittedModel, class_names

SHOWN = 5  # names in a message

if TYPE_CHECKING:
    from mpiopt.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Columns:
    """What a model must fit: the columns and classes of the rows to train on."""

    count: int
    names: Sequence[str] | None
    classes: NDArray[Any] | None
    outputs: int


class Started(NamedTuple):
    """An objective with a start, and a line that says what was taken from the model."""

    objective: Objective
    line: str


def started_from(path: str, objective: Objective, data: Dataset, comm: Comm) -> Started:
    """Return the objective with the model of a result file as its start; collective.

    Raises
    ------
    ValueError
        On all ranks: the file cannot be read, or its model has other classes or columns.
    """
    from mpiopt.results.result_file import read_result

    wanted = Columns(objective.shard.features, data.names, data.class_labels, objective.outputs)
    with comm.agree_on_errors():
        given = read_result(path).model
        model = matched_model(given, wanted, path)
    units = ColumnUnits.of_dataset(data)
    return Started(with_initial(objective, model, units), _told(path, given, wanted))


def _told(path: str, model: FittedModel, wanted: Columns) -> str:
    """Return how many columns have a coefficient of the model, and which have none."""
    places = _places(model.feature_names, model.coef.shape[1], wanted, path)
    new, gone = np.flatnonzero(places < 0), model.coef.shape[1] - np.count_nonzero(places >= 0)
    names = wanted.names or ()
    some = ", ".join(names[j] for j in new[:SHOWN].tolist()) + (", …" if len(new) > SHOWN else "")
    begins = f"; new, from 0: {some}" if len(new) else ""
    lost = f"; {gone} columns of the model are not here" if gone else ""
    return (
        f"start from {path}: {wanted.count - len(new)} of {wanted.count} columns have its coefficients{begins}{lost}"
    )


def with_initial(objective: Objective, model: FittedModel, units: ColumnUnits) -> Objective:
    """Return the objective that starts at a model in the units of the file's columns."""
    return replace(objective, initial=units.to_training(model, objective.width))


def matched_model(model: FittedModel, wanted: Columns, source: str) -> FittedModel:
    """Return the model with its coefficients where the rows to train on have their columns and classes; local.

    A column that the model does not know has the coefficient 0. One that is no longer there is taken at the centre
    that it had in training, so that it moves the intercept.

    Parameters
    ----------
    model : FittedModel
        The model, with names of its features if they are known.
    wanted : Columns
        What it must fit.
    source : str
        What the model is called in messages.
    """
    coef, constant = _matched_outputs(model, wanted, source)
    d = model.coef.shape[1]
    centre = np.zeros(d) if model.centre is None else model.centre
    places = _places(model.feature_names, d, wanted, source)
    found, origin = np.zeros((wanted.outputs, wanted.count)), np.zeros(wanted.count)
    known = np.flatnonzero(places >= 0)
    found[:, known], origin[known] = coef[:, places[known]], centre[places[known]]
    return FittedModel(found, constant - found @ origin, centre=origin, intercept_at_centre=constant)


def _places(names: Sequence[str] | None, d: int, wanted: Columns, source: str) -> NDArray[np.int64]:
    """Return for each wanted column its number in the model, -1 where the model has none of that name."""
    if names is None or wanted.names is None:
        if d != wanted.count:
            raise ValueError(
                f"{source}: the model has {d} columns, the rows have {wanted.count}; without titles on both sides "
                "they cannot be matched by name"
            )
        return np.arange(d, dtype=np.int64)
    twice = next((name for name in names if list(names).count(name) > 1), None) if len(set(names)) < d else None
    if twice is not None:
        raise ValueError(f"{source}: two columns of the model are called {twice!r}; they cannot be matched by name")
    place = {name: j for j, name in enumerate(names)}
    places = np.array([place.get(name, -1) for name in wanted.names], np.int64)
    if d and not (places >= 0).any():
        few = ", ".join(map(repr, names[:SHOWN]))
        raise ValueError(f"{source}: the rows have none of the model's columns ({few}); it is no start")
    return places


def _matched_outputs(
    model: FittedModel, wanted: Columns, source: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients and constants at the centre, an output for each one that is wanted."""
    constant = model.intercept if model.intercept_at_centre is None else model.intercept_at_centre
    ours = None if wanted.classes is None else _labels(wanted.classes)
    theirs = None if model.classes is None else _labels(model.classes)
    if len(model.coef) != wanted.outputs and not (wanted.outputs > 1 and len(model.coef) > 1):
        raise ValueError(
            f"{source}: the model has {len(model.coef)} outputs, and {wanted.outputs} are to be trained; take another"
        )
    if ours == theirs or ours is None or theirs is None:
        return model.coef, constant
    if wanted.outputs == 1 or not {*ours} & {*theirs}:
        raise ValueError(f"{source}: the model's classes are {', '.join(theirs[:10])}, those of the rows others")
    coef, constants = np.zeros((len(ours), model.coef.shape[1])), np.zeros(len(ours))
    for k, label in enumerate(ours):
        if label in theirs:
            coef[k], constants[k] = model.coef[theirs.index(label)], constant[theirs.index(label)]
    return coef, constants


def _labels(classes: NDArray[Any]) -> list[str]:
    return [str(label) for label in class_names(classes).tolist()]
