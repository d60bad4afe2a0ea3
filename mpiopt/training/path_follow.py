"""Follow a path: the points in groups, and by themselves where a group does not certify them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.config.spec import PluginSpec
from mpiopt.core.history import Clock
from mpiopt.data.coordinates import Coordinates
from mpiopt.objective.bounds import Bounds
from mpiopt.objective.judgement import GAP
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.model import FileUnits, FittedModel
from mpiopt.training.loop import run
from mpiopt.training.path_points import PathGroups, PathStart, least_strength, one_degree, takes_groups
from mpiopt.training.problem import pick
from mpiopt.training.ridge_matrix import RidgeBasis
from mpiopt.training.run_state import RunPlan

Vector = NDArray[np.float64]
Model = NDArray[np.float64]

FIRST = 1.0 + 1e-9  # times the least strength with all coefficients 0: rounding must not let one in


@dataclass(frozen=True)
class PathOptions:
    """Which strengths a path has.

    Parameters
    ----------
    l1_ratio : float
        Share of the strength λ that is l1: l1 = λ l1_ratio, l2 = λ (1 - l1_ratio). From 0 to 1.
    points : int
        Number of strengths, equal factors apart, from the least one at which all coefficients are 0 downwards. With
        l1_ratio 0 there is none: from one at which less than one effective parameter is left beside the constants.
    min_ratio : float
        The last strength over the first, above 0 and below 1.

    Examples
    --------
    >>> PathOptions(points=3, min_ratio=0.01).strengths(2.0).round(3).tolist()
    [2.0, 0.2, 0.02]
    """

    l1_ratio: float = 1.0
    points: int = 100
    min_ratio: float = 1e-3

    def __post_init__(self) -> None:
        if not 0.0 <= self.l1_ratio <= 1.0:
            raise ValueError(f"l1_ratio must be from 0 to 1, not {self.l1_ratio}")
        if self.points < 2:
            raise ValueError(f"points must be at least 2, not {self.points}")
        if not 0.0 < self.min_ratio < 1.0:
            raise ValueError(f"min_ratio must be above 0 and below 1, not {self.min_ratio}")

    def strengths(self, first: float) -> Vector:
        """Return the strengths λ that begin with `first`, (points,)."""
        return np.asarray(first * self.min_ratio ** np.linspace(0.0, 1.0, self.points))


class PathPoint(NamedTuple):
    """One model of a path, equal on all ranks.

    Attributes
    ----------
    strength : float
        λ.
    l1, l2 : float
        The penalty.
    model : FittedModel
        Coefficients in the units of the rows as they were given.
    objective : float
        F there.
    certificate : float
        The duality gap, relative.
    certified : bool
        Whether it reached the tolerance.
    epochs : float
        Passes over all rows that the point took: its part of those of its group.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> last = mpiopt.path(x, x[:, 1], loss="squared", options=mpiopt.PathOptions(points=4)).points[-1]
    >>> last.nonzeros, last.certified, last.l2
    (1, True, 0.0)
    """

    strength: float
    l1: float
    l2: float
    model: FittedModel
    objective: float
    certificate: float
    certified: bool
    epochs: float

    @property
    def nonzeros(self) -> int:
        """Number of columns with a coefficient that is not 0."""
        return int((self.model.coef != 0.0).any(axis=0).sum())


class Frame(NamedTuple):
    """From the columns of the algorithm to those of the rows as they were given."""

    mean: Vector
    scale: Vector
    coordinates: Coordinates
    classes: NDArray[Any] | None
    bounds: Bounds | None = None  # of the columns as they were given
    basis: RidgeBasis | None = None  # in which the algorithm works


class Found(NamedTuple):
    """A point, and its model in the columns of the algorithm."""

    point: PathPoint
    w: Model  # (outputs, width)


@dataclass(eq=False)
class Progress:
    """How far a path has come; what follows depends on nothing else.

    Attributes
    ----------
    found : list of Found
        The first points.
    ready : dict of Found
        Later points that are found already, by their number.
    groups : dict of ndarray
        State of the groups; empty if none has been solved.
    alone : bool
        Whether the points that follow are fitted one by one.
    """

    found: list[Found] = field(default_factory=list)
    ready: dict[int, Found] = field(default_factory=dict)
    groups: dict[str, NDArray[Any]] = field(default_factory=dict)
    alone: bool = False


class StoppedPath(Exception):
    """A signal has ended a path; on all ranks."""


class Watch(Protocol):
    """Sees the points of a path as they are found; collective."""

    @property
    def stop(self) -> StopSignal:
        """The signals that end the path, with `StoppedPath`."""

    def note(self, found: list[Found]) -> None:
        """Take note of one more point."""

    def save(self, progress: Progress) -> None:
        """Save how far the path has come: after a group, or after a point that was fitted by itself."""


class Follower:
    """Fits the points of a path one after the other, or in groups.

    Parameters
    ----------
    objective : Objective
        This rank's share, with any penalty.
    frame : Frame
        From its columns to those of the rows as they were given.
    options : PathOptions
        The strengths.
    stop : Stopping
        Tolerance and budgets of each point.
    algorithm : PluginSpec
        The algorithm of each point; auto: groups of points, or the working set.
    comm : Comm
        The ranks.
    """

    def __init__(
        self,
        objective: Objective,
        frame: Frame,
        options: PathOptions,
        stop: Stopping,
        algorithm: PluginSpec,
        comm: Comm,
    ) -> None:
        self.frame, self.stop, self.comm, self.channel = frame, stop, comm, Channel(comm, 0)
        self.start = PathStart.of(objective, options.l1_ratio, self.channel)
        auto, sparse = algorithm.name == "auto", options.l1_ratio > 0.0
        self.in_groups = auto and sparse and takes_groups(objective)
        self.spec = PluginSpec("working-set", algorithm.options) if auto and sparse else algorithm
        self.signal = StopSignal()
        self.l1_ratio, self.units = options.l1_ratio, FileUnits(*frame[:3])

    def follow(self, strengths: Vector, watch: Watch | None = None, progress: Progress | None = None) -> list[Found]:
        """Fit the points of some strengths, descending; collective.

        Parameters
        ----------
        strengths : ndarray, shape (points,)
            λ.
        watch : Watch, optional
            Sees the points.
        progress : Progress, optional
            How far the path has come already.
        """
        progress = Progress() if progress is None else progress
        self.signal = StopSignal() if watch is None else watch.stop
        found = progress.found
        if self.in_groups and not progress.alone:
            self._in_groups(strengths, progress, watch)
        progress.alone = True
        for k in range(len(found), len(strengths)):
            try:
                found.append(self._alone(float(strengths[k]), found[-1].w if found else None))
            except StoppedPath:
                if watch is not None and found:
                    watch.save(progress)
                raise
            if watch is not None:
                watch.note(found)
                watch.save(progress)
        return found

    def _in_groups(self, strengths: Vector, progress: Progress, watch: Watch | None) -> None:
        """Fit the points in groups until all are found or the budget is spent."""
        found, ready = progress.found, progress.ready
        groups = PathGroups(self.start, strengths, self.stop.tol, self.channel, len(found))
        if progress.groups:
            groups.restore(progress.groups)
        while len(found) < len(strengths):
            if groups.epochs >= self.stop.max_epochs * (groups.next + 1):
                return
            spent = groups.epochs
            solved, left = groups.solve_next()
            each = (groups.epochs - spent) / max(len(solved), 1)
            for one in solved:
                ready[one.number] = self.restored(float(strengths[one.number]), *one[2:], each, one.w[None])
            for other in left:
                ready[other.number] = self._alone(float(strengths[other.number]), other.w[None])
                if other.number >= groups.last.number:
                    groups.go_on_from(other.number, ready[other.number].w[0])
            while len(found) in ready:
                found.append(ready.pop(len(found)))
                if watch is not None:
                    watch.note(found)
            if watch is not None:
                progress.groups = groups.state()
                watch.save(progress)

    def restored(
        self, strength: float, value: float, certificate: float, certified: bool, epochs: float, w: Model
    ) -> Found:
        """Return a point as it is reported, from what was found of it."""
        l1, l2 = (strength * part for part in self.start.objective.penalty.strengths)
        shard, frame = self.start.objective.shard, self.frame
        given = w if frame.basis is None else frame.basis.in_given_columns(w)
        model = self.units.model(given, shard.features, shard.intercept, frame.classes)
        if frame.bounds is not None:  # other units may have moved it by a rounding error
            model = replace(model, coef=np.clip(model.coef, frame.bounds.lower, frame.bounds.upper))
        return Found(PathPoint(strength, l1, l2, model, value, certificate, certified, epochs), w)

    def _alone(self, strength: float, before: Model | None) -> Found:
        """Fit one point from a model by an algorithm; collective."""
        posed = replace(self.start.at(strength), initial=before)
        chosen, _ = pick(self.spec, posed, self.stop.tol, self.comm)
        now = run(RunPlan(self.stop), posed, chosen, self.channel, self.signal, Clock(), lambda row: None)
        if now.ending == "signal":
            raise StoppedPath
        kept = now.certificate.value if now.certificate.kind.startswith(GAP) else np.inf
        certified, w = now.ending == "certified", now.state.w + 0.0  # no -0.0, which a saved point would not have
        return self.restored(strength, now.exact.value, kept, certified, now.epochs, w)


def first_strength(start: PathStart, channel: Channel) -> float:
    """Return the least λ at which all coefficients are 0; without l1 that of `one_degree`; collective.

    Raises
    ------
    ValueError
        If they are 0 without a penalty.
    """
    least = least_strength(start) if start.l1_ratio else one_degree(start, channel)
    if not least > 0.0:
        raise ValueError("all coefficients are 0 without a penalty: the columns say nothing about the labels")
    return least * FIRST
