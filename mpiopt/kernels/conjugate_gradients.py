"""The vectors of conjugate gradients: with many columns they cost as much as the rows, so few loops read them."""

from __future__ import annotations

from mpiopt.kernels.arrays import Matrix, Vector
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import FAST

LANES = 64  # sums side by side in `product_alike`: far more than a vector unit has, far fewer than there are columns


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def close_product(share: Matrix, ridge: Vector, q: Matrix, joined: Vector) -> None:
    """Write H q + ridge · q to `joined`, and its product with q after it.

    Parameters
    ----------
    share, q : ndarray, shape (outputs, width)
        A rank's share of H q without the ridge; the direction.
    ridge : ndarray, shape (width,)
        Of each column.
    joined : ndarray, shape (outputs · width + 1,)
        Filled.
    """
    outputs, width = q.shape
    bend = 0.0
    for k in range(outputs):
        for j in range(width):
            one = share[k, j] + ridge[j] * q[k, j]
            joined[k * width + j] = one
            bend += one * q[k, j]
    joined[outputs * width] = bend


@njit(cache=True, nogil=True, error_model="numpy")
def go_along(p: Vector, r: Vector, q: Vector, hq: Vector, length: float) -> None:
    """Add length · q to p and subtract length · H q from r, all of shape (d,)."""
    for j in range(len(p)):
        p[j] += length * q[j]
        r[j] -= length * hq[j]


@njit(cache=True, nogil=True, error_model="numpy")
def next_direction(q: Vector, z: Vector, part: float) -> None:
    """Replace q by z + part · q."""
    for j in range(len(q)):
        q[j] = z[j] + part * q[j]


@njit(cache=True, nogil=True, error_model="numpy")
def products_by_lane(r: Vector, z: Vector, sums: Vector) -> None:
    """Fill `sums` (2 LANES,) with parts of r·z, in an order that no vector unit changes."""
    sums[:] = 0.0
    whole = len(r) - len(r) % LANES
    for start in range(0, whole, LANES):
        for k in range(LANES):
            sums[k] += r[start + k] * z[start + k]
    for j in range(whole, len(r)):
        sums[LANES + j - whole] = r[j] * z[j]
