"""Who has which role: made by the registry, told to all, numbered."""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from mpiopt.studies.parameter_server.runtime.messages import Vector


class Role(enum.IntEnum):
    """What a rank does."""

    GONE = 0
    SPARE = 1
    REGISTRY = 2
    WORKER = 3
    STORE = 4
    SERVER = 5


class RoleView(NamedTuple):
    """The role of a rank, and the number of the view in which it got it."""

    role: Role
    since: int


class View(NamedTuple):
    """The roles of all ranks."""

    number: int
    pending: int  # faults of the plan that are still to come
    places: tuple[RoleView, ...]  # by rank

    def having(self, role: Role) -> tuple[int, ...]:
        """Give the ranks with a role, those that have had it longest first: the order of a chain."""
        ranks = [rank for rank, place in enumerate(self.places) if place.role is role]
        return tuple(sorted(ranks, key=lambda rank: (self.places[rank].since, rank)))

    @property
    def workers(self) -> tuple[int, ...]:
        """All workers."""
        return self.having(Role.WORKER)

    def head(self, role: Role) -> int | None:
        """Give the first of those with a role."""
        return next(iter(self.having(role)), None)

    def after(self, rank: int) -> int | None:
        """Give the next in the chain of this rank's role."""
        chain = self.having(self.places[rank].role)
        return next(iter(chain[chain.index(rank) + 1 :]), None)

    def given(self, rank: int, role: Role) -> View:
        """Give the next view, in which this rank has that role."""
        number = self.number + 1
        places = list(self.places)
        places[rank] = RoleView(role, number)
        return View(number, self.pending, tuple(places))


def first(workers: int, servers: int, stores: int, spares: int, pending: int) -> View:
    """Give the view of the start: the registry, then servers, stores, workers, spares."""
    roles = [Role.REGISTRY, *[Role.SERVER] * servers, *[Role.STORE] * stores, *[Role.WORKER] * workers]
    return View(0, pending, tuple(RoleView(role, 0) for role in [*roles, *[Role.SPARE] * spares]))


def encode(view: View) -> Vector:
    """Give a view as numbers."""
    return np.array([view.number, view.pending, *(n for place in view.places for n in place)], np.int64)


def decode(numbers: Vector) -> View:
    """Give it back."""
    number, pending, *rest = numbers.tolist()
    return View(number, pending, tuple(RoleView(Role(r), s) for r, s in zip(rest[::2], rest[1::2], strict=True)))


def unknown(view: View, rank: int) -> View:
    """Give the view of one who has just begun to live and knows of nobody."""
    places = [RoleView(Role.GONE, -1) if other == rank else place for other, place in enumerate(view.places)]
    return View(-1, view.pending, tuple(places))
