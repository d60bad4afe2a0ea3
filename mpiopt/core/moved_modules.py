"""Old module names that users' scripts still use: they work for one more version, with a DeprecationWarning.

Batch scripts that `mpiopt submit` wrote before 0.1.0 call `python -m mpiopt.slurm.saved`. The policy in
CONTRIBUTING.md: one version with a warning, then the name is removed.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {  # old name: new name; packages that contain an old name are listed, too
    "mpiopt.slurm": "mpiopt.cluster.slurm",
    "mpiopt.slurm.saved": "mpiopt.cluster.slurm.requeue",
    "mpiopt.fitting": "mpiopt.training.fit",
    "mpiopt.estimator": "mpiopt.training.estimators",
}
REMOVED_IN = "0.2"


class MovedModules(MetaPathFinder):
    """Find a module under its old name, and warn."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of the module's new file under its old name; None for all other names."""
        new = MOVED.get(fullname)
        found = importlib.util.find_spec(new) if new else None
        if found is None or found.origin is None:
            return None
        if found.submodule_search_locations is None:
            warnings.warn(
                f"{fullname} has moved to {new}; the old name will be removed in version {REMOVED_IN}",
                DeprecationWarning,
                stacklevel=2,
            )
        folders = found.submodule_search_locations
        return importlib.util.spec_from_file_location(fullname, found.origin, submodule_search_locations=folders)
