"""Measurements side by side with the peers: `make bench`.

Importing this first makes the process fit to be timed: one thread for linear algebra and compiled loops, and no
OpenBLAS variables that pin other processors' kernels (they would slow the peers down).
"""

import os

REMOVED = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if os.environ.pop(name, None) is not None]
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
