"""The header of a checkpoint: a JSON text with a checksum, and with the checksums of all slabs."""

from __future__ import annotations

import json
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiopt.core.config.registry import nearest
from mpiopt.core.hdf5 import CHECKPOINT, FORMAT, check_format, open_read
from mpiopt.core.state import Layout
from mpiopt.resilience.checkpoint.base import Meta
from mpiopt.resilience.checkpoint.slabs import Slab

# Keys of a job that a resumed run may change.
FREE = frozenset(
    (
        *("tol", "max_epochs", "max_seconds"),  # when to stop
        *(
            "out",
            "log",
            "resume",
            "checkpoint_every",
            "checkpoint_form",
            "io_hints",
            "quiet",
            "overwrite",
        ),  # what to write
        *("recovery", "spares"),  # how to go on after a loss
    )
)
COORDINATES = "data.coordinates"  # key of the columns in which algorithms work


class Damaged(Exception):
    """A checkpoint whose checksums do not match, or of which a part is missing."""


@dataclass(frozen=True)
class Field:
    """One dataset: its layout over the ranks, and the slab that each rank wrote."""

    layout: str
    dtype: str
    shape: list[int]
    starts: list[int]
    stops: list[int]
    checksums: list[int]


@dataclass(frozen=True)
class Head:
    """The header: which run it is, when it was saved, and its fields."""

    k: int  # the next round
    size: int  # ranks that wrote it
    total: int  # rows of all ranks
    files: list[str]  # shard files that must lie beside it; none in the parallel form
    meta: Meta
    fields: dict[str, Field]

    def text(self) -> str:
        """Return the header as JSON; floats survive bit by bit."""
        return json.dumps(asdict(self))


def write_head(f: h5py.File, head: Head) -> None:
    """Add the header to an open file."""
    text = head.text().encode()
    f.attrs.update({"kind": CHECKPOINT, "format": FORMAT, "round": head.k, "ranks": head.size})
    f.attrs["head_checksum"] = zlib.crc32(text)
    f.create_dataset("head", data=np.bytes_(text))


def read_text(path: Path) -> str:
    """Return the text of the header.

    Raises
    ------
    Damaged
        If the header is incomplete.
    ValueError
        If the file has a format that this version does not know.
    """
    try:
        with open_read(path) as f:
            check_format(f, path, CHECKPOINT)
            raw = bytes(f["head"][()])
            intact = zlib.crc32(raw) == int(f.attrs["head_checksum"])
    except ValueError as error:
        if "of format" in str(error):
            raise
        raise Damaged(str(error).removeprefix(f"{path}: ")) from None
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise Damaged(f"it has no header ({error})") from None
    if not intact:
        raise Damaged("the checksum of the header is wrong")
    return raw.decode("utf-8", "replace")


def parse(text: str) -> Head:
    """Return the header of a text that `Head.text` made; Damaged if any other program has made it."""
    try:
        tree = json.loads(text)
        fields = {name: Field(**field) for name, field in tree.pop("fields").items()}
        head = Head(fields=fields, **tree)
        sound = _is_sound(head)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise Damaged("its header cannot be understood")
    return head


def _is_sound(head: Head) -> bool:
    """Return whether a header has the types and sizes that its readers rely on."""
    counts = all(_whole(n) for n in (head.k, head.size, head.total)) and head.size > 0
    names = all(Path(name).name == name for name in head.files) and len(head.files) in (0, head.size)
    meta = all(isinstance(k, str) and isinstance(v, str | int | float) for k, v in head.meta.items())
    return counts and names and meta and all(_is_sound_field(f, head.size) for f in head.fields.values())


def _is_sound_field(field: Field, size: int) -> bool:
    lists = (field.starts, field.stops, field.checksums)
    if field.layout not in Layout.__members__ or np.dtype(field.dtype).kind not in "biufc":
        return False
    if not all(len(each) == size and all(map(_whole, each)) for each in lists) or not all(map(_whole, field.shape)):
        return False
    return all(a <= b <= field.shape[0] for a, b in zip(field.starts, field.stops, strict=True))


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def refuse_other_job(head: Head, job: str, slabs: list[Slab], total: int, where: str) -> None:
    """Raise ValueError if the checkpoint is of another job; the message, one line, says what differs."""
    found_difference = difference(job, str(head.meta.get("job", "")))
    if found_difference:
        raise ValueError(f"{where} is of another job: {found_difference}")
    if head.total != total:
        raise ValueError(f"{where} is of another job: {head.total} rows there and {total} here")
    there = {name: _kind(Layout[f.layout], f.dtype, f.shape) for name, f in head.fields.items()}
    here = {s.name: _kind(s.layout, s.rows.dtype.str, _shape_there(s, head)) for s in slabs}
    for name in [*here, *there]:
        a, b = there.get(name, "absent"), here.get(name, "absent")
        if a != b:
            hint = nearest(name, there) if a == "absent" else ""
            raise ValueError(f"{where} is of another job: state field {name} is {a} there and {b} here{hint}")


def difference(ours: str, theirs: str) -> str:
    """Return in words the first difference of two job texts that makes them other jobs; "" if there is none."""
    here, there = _settings(ours), _settings(theirs)
    if COORDINATES in here:  # algorithms of before this key worked in the columns of the file
        there.setdefault(COORDINATES, repr("file"))
    for key in sorted(here.keys() | there.keys()):
        a, b = there.get(key, "absent"), here.get(key, "absent")
        if a != b:
            hint = "; resume with --coordinates " + a.strip("'") if key == COORDINATES else ""
            return f"{key} is {a} there and {b} here{hint}"
    return ""


def _shape_there(slab: Slab, head: Head) -> tuple[int, ...]:
    """Return the shape of a slab, or the shorter one that an earlier version saved of it."""
    known = head.fields.get(slab.name)
    shorter = slab.may_grow and known is not None and len(known.shape) == 1 and known.shape[0] < slab.shape[0]
    return (known.shape[0],) if known is not None and shorter else slab.shape


def _kind(layout: Layout, dtype: str, shape: list[int] | tuple[int, ...]) -> str:
    # Axis 0 of a per-rank field is the number of ranks, which may change.
    cut = list(shape[1:]) if layout is Layout.PER_RANK else list(shape)
    return f"{layout.name.lower()} {np.dtype(dtype)} {cut}"


def _settings(job: str) -> dict[str, str]:
    """Return `table.key` -> value of a job text, without the keys that a resumed run may change."""
    try:
        tree = tomllib.loads(job)
    except tomllib.TOMLDecodeError:
        return {f"line {i}": line for i, line in enumerate(job.splitlines(), 1)}
    return {key: repr(value) for key, value in flatten(tree).items() if key.rpartition(".")[2] not in FREE}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by `table.key`."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values
