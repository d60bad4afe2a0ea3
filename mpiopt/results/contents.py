"""The content of an HDF5 file of any kind: its attributes, its datasets, the header of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py

from mpiopt.core.hdf5 import CHECKPOINT, NotHdf5, check_format, open_read
from mpiopt.core.seal import DamagedFile
from mpiopt.resilience.checkpoint.header import Damaged, Head, parse, read_text


@dataclass(frozen=True)
class Part:
    """One dataset of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int  # in memory
    storage: str  # "contiguous", "chunked gzip", "virtual" …


@dataclass(frozen=True)
class Contents:
    """The attributes of the root and all datasets; `kind` is "" if the file was not written by mpiopt."""

    kind: str
    attributes: dict[str, str]
    parts: list[Part]


def contents(path: str | Path) -> Contents:
    """Return the content of a file; ValueError, one line, if it is missing, truncated or not HDF5."""
    parts: list[Part] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            parts.append(Part(name, item.shape or (), _dtype(item), int(item.nbytes), _storage(item)))

    try:
        opened = open_read(Path(path))
    except NotHdf5 as fault:
        raise ValueError(
            f"{fault}; results, checkpoints and converted data are; for a table: mpiopt describe"
        ) from None
    with opened as f:
        try:
            f.visititems(visit)
            attributes = {str(k): str(v) for k, v in f.attrs.items()}
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise DamagedFile(f"{path}: damaged HDF5 file ({' '.join(str(error).split())})") from None
    return Contents(attributes.get("kind", ""), attributes, parts)


def read_head(path: str | Path) -> Head:
    """Return the header of a checkpoint; ValueError, one line, if it is damaged or of an unknown format."""
    place = Path(path)
    with open_read(place) as f:
        check_format(f, place, CHECKPOINT)
    try:
        return parse(read_text(place))
    except Damaged as damage:
        raise DamagedFile(f"{path}: damaged checkpoint: {damage}") from None


def _dtype(dataset: h5py.Dataset) -> str:
    if h5py.check_string_dtype(dataset.dtype):
        return "text"
    return "table" if dataset.dtype.names else str(dataset.dtype)


def _storage(dataset: h5py.Dataset) -> str:
    if dataset.is_virtual:
        return "virtual"
    return f"chunked {dataset.compression or ''}".strip() if dataset.chunks else "contiguous"
