"""Loops over samples and numbers, compiled by numba; the only such loops in the package.

Kernels know no class of the package: they take arrays (`mpiopt.kernels.arrays`) and numbers. Most are compiled once
for float32 and once for float64 rows, and not again for each loss, since a loss is called through its address
(`loss_block`). All release the GIL, return the same bits on every call, and are cached on disk (`kernel_cache`).

Where a kernel exists for dense and for CSR rows, the two are separate functions: their inner loops have nothing in
common that a shared function would not slow down.
"""
