"""Penalties on the weights (never on the intercept): h(w) = l1 ‖w‖₁ + (l2/2) ‖w‖², or a part of it."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.plugin import Plugin


@dataclass(frozen=True)
class Penalty(Plugin, ABC):
    """A separable penalty; `l1` and `l2` are read by kernels, zero where the member has no such option."""

    smooth: ClassVar[bool]
