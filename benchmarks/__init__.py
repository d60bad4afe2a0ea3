"""Measurements side by side with the peers: `make bench`.

Importing this before NumPy makes the process fit to be timed: one thread for linear algebra and compiled loops, no
OpenBLAS variables that pin another processor's kernels (they would slow the peers down).
"""

import os
import sys

REMOVED: list[str] = []
if "numpy" not in sys.modules:  # later it would change nothing
    for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        if os.environ.pop(_name, None) is not None:
            REMOVED.append(_name)
    for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[_name] = "1"
