"""Sparse rows in a group of an HDF5 file, as AnnData (`/X`, the layers) and 10x Genomics (`/matrix`) write them."""

from __future__ import annotations

from typing import NamedTuple

import h5py
import numpy as np

from mpiopt.data.formats import hdf5

PARTS = ("indptr", "indices", "data")
USUAL = ("X", "matrix")  # groups that are found without being named
SHAPES = ("shape", "h5sparse_shape")  # attributes, of AnnData now and of its first versions
NAMES_OF_10X = ("features/id", "genes")  # of versions 3 and 2: identifiers, because names of genes are not unique


class GroupFacts(NamedTuple):
    """What a group says of its rows."""

    features: int | None
    names: list[str] | None  # of the features


def holds_rows(file: h5py.File, group: str) -> bool:
    """Return whether a group, or the file itself for "", has the three datasets of sparse rows."""
    return all(isinstance(hdf5.get_object(file, f"{group}/{part}"), h5py.Dataset) for part in PARTS)


def is_csr(path: str) -> bool:
    """Return whether the file holds rows in CSR form, in itself or in a usual group; False if it cannot be opened."""
    hdf5.trust(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            return any(holds_rows(file, group) for group in ("", *USUAL))
    except OSError:
        return False


def find_group(path: str, file: h5py.File, wanted: str) -> str:
    """Return the group of the rows, "" for the file itself.

    Raises
    ------
    ValueError
        If the group that is wanted is not there, or has no sparse rows.
    """
    if wanted == "auto":
        return next((group for group in ("", *USUAL) if holds_rows(file, group)), "")
    group = wanted.strip("/")
    if not holds_rows(file, group):
        known: list[str] = []
        file.visititems(lambda name, item: known.append(name) if holds_rows(file, name) else None)
        listed = ", ".join(f"/{name}" for name in known) or "none"
        raise ValueError(f"{path}: /{group} is no group with {', '.join(PARTS)}; such groups: {listed}")
    return group


def group_facts(path: str, file: h5py.File, group: str, n: int) -> GroupFacts:
    """Return what a group of n rows says of them.

    10x Genomics stores genes by cells, compressed by columns: these are rows of cells, and the shape is turned.

    Raises
    ------
    ValueError
        If the shape does not fit the rows, or there is not one name for each feature.
    """
    of_10x = f"{group}/barcodes" in file
    shape = _shape(file, group)
    rows, d = (None, None) if shape is None else (shape[::-1] if of_10x else shape)
    if rows is not None and rows != n:
        raise ValueError(f"{path}: the shape of /{group} says {rows} rows; indptr has {n}")
    names = _names(file, f"{group}/", NAMES_OF_10X) if of_10x else _names(file, "var/", _index(file))
    if names is not None and d is not None and len(names) != d:
        raise ValueError(f"{path}: has {len(names)} names for the {d} features of /{group}; one each is needed")
    return GroupFacts(d, names)


def _shape(file: h5py.File, group: str) -> tuple[int, int] | None:
    found = file.get(f"{group}/shape")
    stored = found[:] if isinstance(found, h5py.Dataset) and found.shape == (2,) else None
    for name in SHAPES:
        stored = file[group].attrs.get(name, stored)
    return None if stored is None or np.shape(stored) != (2,) else (int(stored[0]), int(stored[1]))


def _index(file: h5py.File) -> tuple[str, ...]:
    """Return the dataset with the names of AnnData's features: an attribute of `/var` says which."""
    var = file.get("var")
    return tuple(hdf5.texts(var.attrs.get("_index", "_index"))) if isinstance(var, h5py.Group) else ()


def _names(file: h5py.File, where: str, candidates: tuple[str, ...]) -> list[str] | None:
    for name in candidates:
        found = file.get(where + name)
        if isinstance(found, h5py.Dataset) and found.ndim == 1 and not found.dtype.names:
            return [hdf5.text(value) for value in found[:].tolist()]
    return None
