"""What lies in an HDF5 file, for a reader who does not know its kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py

from mpiopt.core.hdf5 import CHECKPOINT, check_format, open_read
from mpiopt.resilience.checkpoint.header import Damaged, Head, parse, read_text


@dataclass(frozen=True)
class Part:
    """One dataset."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int  # as in memory
    storage: str  # "contiguous", "chunked gzip", "virtual" …


@dataclass(frozen=True)
class Contents:
    """The attributes of the root and all datasets; `kind` is "" where the file does not say what it is."""

    kind: str
    attributes: dict[str, str]
    parts: list[Part]


def contents(path: str | Path) -> Contents:
    """List a file; ValueError, in one line, if it is missing, foreign or truncated."""
    parts: list[Part] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            parts.append(Part(name, item.shape or (), _dtype(item), int(item.nbytes), _storage(item)))

    with open_read(Path(path)) as f:
        f.visititems(visit)
        attributes = {str(k): str(v) for k, v in f.attrs.items()}
    return Contents(attributes.get("kind", ""), attributes, parts)


def read_head(path: str | Path) -> Head:
    """Read what a checkpoint says of itself; ValueError, in one line, if it is damaged or of an unknown format."""
    place = Path(path)
    with open_read(place) as f:
        check_format(f, place, CHECKPOINT)
    try:
        return parse(read_text(place))
    except Damaged as damage:
        raise ValueError(f"{path}: damaged checkpoint: {damage}") from None


def _dtype(dataset: h5py.Dataset) -> str:
    if h5py.check_string_dtype(dataset.dtype):
        return "text"
    return "table" if dataset.dtype.names else str(dataset.dtype)


def _storage(dataset: h5py.Dataset) -> str:
    if dataset.is_virtual:
        return "virtual"
    return f"chunked {dataset.compression or ''}".strip() if dataset.chunks else "contiguous"
