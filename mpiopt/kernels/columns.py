"""Some columns of CSR rows, copied to rows of their own."""

from __future__ import annotations

from mpiopt.kernels.arrays import Columns, Integers, Values
from mpiopt.kernels.csr import entry, place
from mpiopt.kernels.kernel_cache import njit


@njit(cache=True, nogil=True, error_model="numpy")
def count_chosen(indptr: Integers, indices: Columns, number: Columns, lengths: Integers) -> None:
    """Write to lengths[i] how many stored numbers of row i lie in chosen columns.

    Parameters
    ----------
    indptr, indices : ndarray, shapes (n + 1,), (nonzeros,)
        n rows.
    number : ndarray of int32, shape (width,)
        The new number of each chosen column; -1 for the others.
    lengths : ndarray of int64, shape (n,)
        Filled.
    """
    for i in range(len(lengths)):
        count = 0
        for p in range(indptr[i], indptr[i + 1]):
            count += number[place(entry(indices, p), 1, 0)] >= 0
        lengths[i] = count


@njit(cache=True, nogil=True, error_model="numpy")
def copy_chosen(
    indptr: Integers, indices: Columns, values: Values, number: Columns, new_indices: Columns, new_values: Values
) -> None:
    """Copy the stored numbers of chosen columns, row by row, under their new column numbers.

    Parameters
    ----------
    indptr, indices, values : ndarray, shapes (n + 1,), (nonzeros,), (nonzeros,)
        n rows.
    number : ndarray of int32, shape (width,)
        As in `count_chosen`.
    new_indices, new_values : ndarray, shape (sum of the lengths,)
        Filled.
    """
    end = 0
    for p in range(indptr[0], indptr[-1]):
        j = number[place(entry(indices, p), 1, 0)]
        if j >= 0:
            new_indices[end], new_values[end] = j, entry(values, p)
            end += 1
