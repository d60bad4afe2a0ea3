"""Ridge (Hoerl, Kennard 1970)."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.penalties import Penalty


@dataclass(frozen=True)
class Ridge(Penalty):
    """h(w) = (l2/2) ‖w‖²; smooth and l2-strongly convex."""

    name = "ridge"
    smooth = True

    l2: float = 1e-4
