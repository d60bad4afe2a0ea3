"""Max- and min-consensus: m_j <- max over itself and its in-neighbours; exact after D rounds, D the diameter."""

from __future__ import annotations

import numpy as np

from mpiopt.consensus import Array, Protocol, Site


def maximum(x: Array, site: Site) -> Protocol[Array]:
    """Give the elementwise maximum over all ranks, in site.diameter rounds (which may be a bound); NaN wins."""
    highest = x
    for _ in range(site.diameter):
        highest = np.maximum.reduce([highest, *(yield highest)])
    return highest


def minimum(x: Array, site: Site) -> Protocol[Array]:
    """Give the elementwise minimum over all ranks, in site.diameter rounds; NaN wins."""
    lowest = x
    for _ in range(site.diameter):
        lowest = np.minimum.reduce([lowest, *(yield lowest)])
    return lowest
