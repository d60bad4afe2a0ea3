"""Five faults that make certificates wrong, put into the package for the length of a `with` block.

All of them act at two places: `Certifier.judge`, which says what a run may claim, and `Channel.sum`, through which
every exact sum goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from mpiopt.compress.channel import Channel
from mpiopt.objective.certificate import Certifier

SMALL = 0.1  # what the gap is multiplied by


@contextmanager
def changed_judge(change: Callable[[Any], Any]) -> Iterator[None]:
    """What the certifier says is changed."""
    with patch.object(Certifier, "judge", change(Certifier.judge)):
        yield


def small_gap() -> Any:
    """The certificate is a tenth of what it should be."""

    def change(right: Any) -> Any:
        def judge(self: Certifier, *arguments: Any) -> Any:
            tol, self.tol = self.tol, self.tol / SMALL
            try:
                found = right(self, *arguments)
            finally:
                self.tol = tol
            certificate = found.certificate
            return found._replace(certificate=certificate._replace(value=SMALL * certificate.value))

        return judge

    return changed_judge(change)


def stale_gradient() -> Any:
    """The gradient is not of the model: once certified by its gradient, the model goes back by a round."""
    kept: dict[int, Any] = {}  # the model of the last call, by the certifier of each rank

    def change(right: Any) -> Any:
        def judge(self: Certifier, w: Any, *rest: Any) -> Any:
            found = right(self, w, *rest)
            before = kept.get(id(self), w)
            kept[id(self)] = w.copy()
            if found.ending == "certified":
                w[...] = before
            return found

        return judge

    return changed_judge(change)


def nan() -> Any:
    """The certificate is NaN, and passes for one that is small enough."""

    def change(right: Any) -> Any:
        def judge(self: Certifier, *arguments: Any) -> Any:
            found = right(self, *arguments)
            return found._replace(certificate=found.certificate._replace(value=np.nan), ending="certified")

        return judge

    return changed_judge(change)


@contextmanager
def changed_sum(change: Any) -> Iterator[None]:
    """Every exact sum is changed."""
    with patch.object(Channel, "sum", change(Channel.sum)):
        yield


def lost_term() -> Any:
    """The last rank's term is missing in every sum."""

    def change(right: Any) -> Any:
        def lossy(self: Channel, *parts: Any) -> Any:
            lost = self.size > 1 and self.rank == self.size - 1
            return right(self, *([0.0 * np.asarray(part) for part in parts] if lost else parts))

        return lossy

    return changed_sum(change)


def float32_sum() -> Any:
    """Every sum is rounded to float32."""

    def change(right: Any) -> Any:
        def short(self: Channel, *parts: Any) -> Any:
            return right(self, *parts).astype(np.float32).astype(np.float64)

        return short

    return changed_sum(change)


FAULTS = {
    "a gap scaled by 0.1": small_gap,
    "a lost rank's term": lost_term,
    "a stale gradient": stale_gradient,
    "a NaN": nan,
    "a float32 sum": float32_sum,
}
