"""Measurements side by side with other libraries: `make bench`.

Import this before NumPy in a process that is timed: it sets one thread for linear algebra and compiled loops, and
removes OpenBLAS variables that choose kernels of another processor, which would slow the other libraries down.
"""

import os
import sys

REMOVED: list[str] = []
if "numpy" not in sys.modules:  # afterwards it has no effect
    for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        if os.environ.pop(_name, None) is not None:
            REMOVED.append(_name)
    for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[_name] = "1"
