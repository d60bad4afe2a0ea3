"""Sparse rows in a group of an HDF5 file, as AnnData (`/X`, the layers) and 10x Genomics (`/matrix`) write them."""

from __future__ import annotations

from typing import NamedTuple

import h5py

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


def group_facts(path: str, file: h5py.File, group: str, n: int, linked: str = "refuse") -> GroupFacts:
    """Return what a group of n rows says of them.

    10x Genomics stores genes by cells, compressed by columns: these are rows of cells, and the shape is turned.

    Raises
    ------
    ValueError
        If the shape does not fit the rows, or there is not one name for each feature.
    """
    of_10x = f"{group}/barcodes" in file
    shape = _shape(path, file, group)
    rows, d = (None, None) if shape is None else (shape[::-1] if of_10x else shape)
    if rows is not None and rows != n:
        raise ValueError(f"{path}: the shape of /{group} says {rows} rows; indptr has {n}")
    candidates = [f"{group}/{name}" for name in NAMES_OF_10X] if of_10x else _index(file)
    found = (hdf5.names_in(path, file, name, d, linked) for name in candidates)
    return GroupFacts(d, next((names for names in found if names is not None), None))


def _shape(path: str, file: h5py.File, group: str) -> tuple[int, int] | None:
    for name in SHAPES:
        if name in file[group].attrs:
            return hdf5.whole_shape(path, f"/{group}", file[group].attrs[name])
    found = hdf5.get_object(file, f"{group}/shape")
    if not isinstance(found, h5py.Dataset):
        return None
    return hdf5.whole_shape(path, f"/{group}", found[:] if found.shape == (2,) else f"an array of {found.shape}")


def _index(file: h5py.File) -> list[str]:
    """Return the dataset with the names of AnnData's features: an attribute of `/var` says which."""
    var = hdf5.get_object(file, "var")
    names = hdf5.texts(var.attrs.get("_index", "_index")) if isinstance(var, h5py.Group) else []
    return [f"var/{name}" for name in names]
