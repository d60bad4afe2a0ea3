"""The view: which rank has which role. The registry makes numbered views and sends them to all ranks."""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from mpiopt.studies.parameter_server.runtime.messages import Vector


class Role(enum.IntEnum):
    """What a rank does; GONE: it is dead or has just restarted."""

    GONE = 0
    SPARE = 1
    REGISTRY = 2
    WORKER = 3
    STORE = 4
    SERVER = 5


class RoleView(NamedTuple):
    """The role of a rank."""

    role: Role
    since: int  # number of the view in which the rank got it


class View(NamedTuple):
    """The roles of all ranks."""

    number: int
    pending: int  # planned faults that are still to come
    places: tuple[RoleView, ...]  # by rank

    def with_role(self, role: Role) -> tuple[int, ...]:
        """Return the ranks with a role, longest in it first: the order of a chain."""
        ranks = [rank for rank, place in enumerate(self.places) if place.role is role]
        return tuple(sorted(ranks, key=lambda rank: (self.places[rank].since, rank)))

    @property
    def workers(self) -> tuple[int, ...]:
        """All workers."""
        return self.with_role(Role.WORKER)

    def head(self, role: Role) -> int | None:
        """Return the first rank with a role, or None."""
        return next(iter(self.with_role(role)), None)

    def successor(self, rank: int) -> int | None:
        """Return the next rank in the chain of this rank's role, or None."""
        chain = self.with_role(self.places[rank].role)
        return next(iter(chain[chain.index(rank) + 1 :]), None)

    def assign(self, rank: int, role: Role) -> View:
        """Return the next view, in which this rank has that role."""
        number = self.number + 1
        places = list(self.places)
        places[rank] = RoleView(role, number)
        return View(number, self.pending, tuple(places))


def initial_view(workers: int, servers: int, stores: int, spares: int, pending: int) -> View:
    """Return the view at the start: the registry, then servers, stores, workers, spares."""
    roles = [Role.REGISTRY, *[Role.SERVER] * servers, *[Role.STORE] * stores, *[Role.WORKER] * workers]
    return View(0, pending, tuple(RoleView(role, 0) for role in [*roles, *[Role.SPARE] * spares]))


def encode(view: View) -> Vector:
    """Return a view as integers."""
    return np.array([view.number, view.pending, *(n for place in view.places for n in place)], np.int64)


def decode(numbers: Vector) -> View:
    """Return the view that `encode` was given."""
    number, pending, *rest = numbers.tolist()
    return View(number, pending, tuple(RoleView(Role(r), s) for r, s in zip(rest[::2], rest[1::2], strict=True)))


def blank_view(view: View, rank: int) -> View:
    """Return the view of a rank that has just restarted and knows nothing about the others."""
    places = [RoleView(Role.GONE, -1) if other == rank else place for other, place in enumerate(view.places)]
    return View(-1, view.pending, tuple(places))
