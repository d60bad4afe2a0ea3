"""What a checkpoint says of itself: one JSON text under a checksum, from which every slab can be verified."""

from __future__ import annotations

import json
import tomllib
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiopt.core.config.registry import nearest
from mpiopt.core.hdf5 import CHECKPOINT, FORMAT, check_format, open_read
from mpiopt.core.state import Layout
from mpiopt.resilience.checkpoint.slabs import Slab

Meta = dict[str, str | int | float]

# Keys of a job that a resumed run may change: when to stop, where to write, what to print, what to do about losses.
FREE = frozenset(
    (
        "tol",
        "max_epochs",
        "max_seconds",
        "out",
        "log",
        "resume",
        "checkpoint_every",
        "checkpoint_form",
        "io_hints",
        "quiet",
        "recovery",
        "spares",
    )
)


class Damaged(Exception):
    """The checkpoint cannot be trusted; the one before it may be."""


@dataclass(frozen=True)
class Field:
    """One dataset: how it lies over the ranks, and the slab that each of the writing ranks wrote."""

    layout: str
    dtype: str
    shape: list[int]
    starts: list[int]
    stops: list[int]
    checksums: list[int]


@dataclass(frozen=True)
class Head:
    """Round, ranks, sequence, what the runner wants back, and the fields."""

    k: int
    size: int
    total: int
    files: list[str]  # shard files that must lie beside it; none in the parallel form
    meta: Meta
    fields: dict[str, Field]

    def text(self) -> str:
        """Give the head as JSON; floats survive bit by bit."""
        return json.dumps(asdict(self))


def write_head(f: h5py.File, head: Head, rank: int) -> None:
    """Add the head; collective where the file is open on all ranks."""
    text = head.text().encode()
    f.attrs.update({"kind": CHECKPOINT, "format": FORMAT, "round": head.k, "ranks": head.size})
    f.attrs["head_checksum"] = zlib.crc32(text)
    dataset = f.create_dataset("head", shape=(), dtype=f"S{len(text)}")
    if rank == 0:
        dataset[()] = np.bytes_(text)


def read_text(path: Path) -> str:
    """Give the text of the head.

    Raises
    ------
    Damaged
        If it is not whole, or a shard file is missing.
    ValueError
        If it is whole, and of a format that this version does not know.
    """
    try:
        with open_read(path) as f:
            check_format(f, path, CHECKPOINT)
            raw = bytes(f["head"][()])
            whole = zlib.crc32(raw) == int(f.attrs["head_checksum"])
    except ValueError as error:
        if "of format" in str(error):
            raise
        raise Damaged(str(error).removeprefix(f"{path}: ")) from None
    except (OSError, KeyError, RuntimeError) as error:
        raise Damaged(f"no head ({error})") from None
    if not whole:
        raise Damaged("the head's checksum does not hold")
    return raw.decode()


def parse(text: str) -> Head:
    """Read what `Head.text` gave."""
    tree = json.loads(text)
    fields = {name: Field(**field) for name, field in tree.pop("fields").items()}
    return Head(fields=fields, **tree)


def refuse_other_job(head: Head, job: str, slabs: list[Slab], total: int, where: str) -> None:
    """Raise ValueError, with one line that says what differs, if the checkpoint cannot continue this job."""
    ours, theirs = _settings(job), _settings(str(head.meta.get("job", "")))
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = theirs.get(key, "absent"), ours.get(key, "absent")
        if a != b:
            raise ValueError(f"{where} is of another job: {key} is {a} there and {b} here")
    if head.total != total:
        raise ValueError(f"{where} is of another job: {head.total} rows there and {total} here")
    found = {name: _kind(Layout[f.layout], f.dtype, f.shape) for name, f in head.fields.items()}
    wanted = {s.name: _kind(s.layout, s.rows.dtype.str, s.shape) for s in slabs}
    for name in [*wanted, *found]:
        a, b = found.get(name, "absent"), wanted.get(name, "absent")
        if a != b:
            hint = nearest(name, found) if a == "absent" else ""
            raise ValueError(f"{where} is of another job: state field {name} is {a} there and {b} here{hint}")


def _kind(layout: Layout, dtype: str, shape: list[int] | tuple[int, ...]) -> str:
    # Axis 0 of a private field is the number of ranks, which may change.
    cut = list(shape[1:]) if layout is Layout.PER_RANK else list(shape)
    return f"{layout.name.lower()} {np.dtype(dtype)} {cut}"


def _settings(job: str) -> dict[str, str]:
    """Flatten a job text to `table.key` -> value, without what a resumed run may change."""
    try:
        tree = tomllib.loads(job)
    except tomllib.TOMLDecodeError:
        return {f"line {i}": line for i, line in enumerate(job.splitlines(), 1)}
    return dict(_flatten(tree, ""))


def _flatten(tree: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    found = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _flatten(value, f"{prefix}{key}.")
        elif key not in FREE:
            found.append((f"{prefix}{key}", repr(value)))
    return found
