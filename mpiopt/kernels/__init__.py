"""Loops over samples, compiled by numba: the only such loops in the package.

Kernels are compiled once for float32 and once for float64 rows, not for each loss: a loss is called by address
(`block`). All of them release the GIL, give the same bits on every call, and are cached on disk. numba's cache looks
at the file of a kernel alone: after a change in `block.py` remove `__pycache__`.
"""
