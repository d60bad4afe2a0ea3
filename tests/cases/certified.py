"""Certificates of single models for tests, from their gradients alone."""

import numpy as np

from mpiopt.objective.duality_gap import LEAST_SCALE, TINY, gap_of_gradient, prox_gradient


def relative_gap(target, w, exact, start, labels=None):
    """The duality gap relative to F − floor; without a penalty the gradient's norm relative to that at the start."""
    floor = labels.floor if labels is not None else 0.0
    gap = gap_of_gradient(target, w, exact, labels)
    if np.isfinite(gap):
        return gap / max(exact.value - floor, LEAST_SCALE * (start.value - floor), TINY)
    first = np.linalg.norm(prox_gradient(target, np.zeros_like(w), start))
    return (np.linalg.norm(prox_gradient(target, w, exact)) + exact.error) / first
