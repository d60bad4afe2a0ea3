"""Distributed SAGA over MPI: fit convex models to data spread over many machines, to a certified optimum.

In Python: `mpiopt.fit(x, y, comm)` from rows that each rank already holds, or `mpiopt.Classifier` and
`mpiopt.Regressor` in the manner of scikit-learn; `mpiopt.results.frames.open("run.h5")` reads what a run has written.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from mpiopt.core.moved_modules import MovedModules

__version__ = "0.1.0"
__all__ = ["Classifier", "Fit", "Regressor", "fit"]

sys.meta_path.append(MovedModules())
logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library prints nothing; a command adds a handler

_HOMES = {
    "fit": "mpiopt.training.fit",
    "Fit": "mpiopt.training.fit",
    "Classifier": "mpiopt.training.estimators",
    "Regressor": "mpiopt.training.estimators",
}


def __getattr__(name: str) -> Any:
    """Load the Python interface when it is first asked for: the command line needs none of it."""
    import importlib

    if name == "results":
        return importlib.import_module("mpiopt.results")
    if name not in _HOMES:
        raise AttributeError(f"module 'mpiopt' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
