"""Slow ranks."""

from __future__ import annotations
import time
from dataclasses import dataclass
from typing import Any
from mpiopt.local_steps import VISITED
from mpiopt.objective import Objective


class Slow:
    def __init__(self, steps: Any, pace: float) -> None:
        self._steps, self._pace = steps, pace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._steps, name)

    def run(self, state, *args, **kw):
        before = state.work[VISITED]
        self._steps.run(state, *args, **kw)
        time.sleep((state.work[VISITED] - before) * self._pace)


@dataclass(frozen=True, eq=False)
class SlowObjective(Objective):
    pace: float = 0.0

    def refresh(self, w, table):
        time.sleep(self.pace * len(self.shard))
        return super().refresh(w, table)

    def curvature_with(self, c):
        time.sleep(self.pace * len(self.shard))
        return super().curvature_with(c)
