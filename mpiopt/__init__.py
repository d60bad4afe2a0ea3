"""Fit generalised linear models to data that is spread over MPI ranks, up to a certified optimum.

In Python: `mpiopt.fit(x, y, comm)` fits to rows that each rank holds in memory; `mpiopt.Classifier` and
`mpiopt.Regressor` have the interface of scikit-learn; `mpiopt.results.open("run.h5")` opens the result of a run.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from mpiopt.core.moved_modules import MovedModules

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Fit",
    "InferenceOptions",
    "PathOptions",
    "Regressor",
    "Summary",
    "fit",
    "path",
    "results",
]

sys.meta_path.append(MovedModules())
logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library prints nothing; a command adds a handler

_HOMES = {
    "fit": "mpiopt.training.fit",
    "Fit": "mpiopt.training.fitted",
    "Classifier": "mpiopt.training.estimators",
    "Regressor": "mpiopt.training.estimators",
    "path": "mpiopt.training.path",
    "PathOptions": "mpiopt.training.path",
    "InferenceOptions": "mpiopt.inference.summary",
    "Summary": "mpiopt.inference.summary",
}


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    """Import the Python interface at its first use: the commands do not need it."""
    import importlib

    if name == "results":
        return importlib.import_module("mpiopt.results")
    if name not in _HOMES:
        raise AttributeError(f"module 'mpiopt' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
