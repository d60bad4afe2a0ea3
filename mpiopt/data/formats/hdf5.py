"""What the HDF5 readers share: opening without harm, the vectors beside the rows, what a file says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Array
from mpiopt.core.config.registry import nearest
from mpiopt.core.hdf5 import refuse_lost_seal, text_lock
from mpiopt.core.seal import DamagedFile, check_seal
from mpiopt.core.trial_run import fault_of_trial
from mpiopt.data.formats.base import RawRows, unused_note
from mpiopt.data.offsets import GIVEN
from mpiopt.data.schema import Place
from mpiopt.data.shard import CsrRows

SIGNATURE = b"\x89HDF\r\n\x1a\n"
FORMAT, VERSION = "mpiopt-data", 1
SPARSE_FORMS = ("csr", "csc")  # what other programs write into the attribute `format`
USUAL = {"y": "y", "weight": "weight"}  # datasets of label and weight that are used if they are there
OF_MARGINS = ("offset", "exposure")  # datasets that `mpiopt convert` adds of a table with such columns
OWN = ("names", "classes", "schema")  # datasets that `mpiopt convert` adds
MOST_NAMES = (1 << 31) - 1  # indices of columns are int32
SHOWN = 20  # names of datasets in a message
LINKED = ("refuse", "allow")  # rows that lie in other files
_trusted: set[tuple[str, int, int, int]] = set()  # files that HDF5 may open: path, inode, bytes, time of last change


class Stated(NamedTuple):
    """What a file says of its rows besides the rows themselves."""

    nbytes: int  # of the file, for each rank
    names: list[str] | None  # of the features
    features: int | None
    checksum: str | None  # written by `mpiopt convert`
    table: dict[str, Any]  # the columns of the table from which it was written, as `Schema.table`; {} for no table


def open_data(path: str) -> h5py.File:
    """Open a data file to read; one that is damaged, not HDF5, or of an unknown version is a ValueError."""
    trust(path)
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ValueError(f"{path}: is not a whole HDF5 file: {error}") from None
    form, version = text(file.attrs.get("format", FORMAT)), file.attrs.get("version", VERSION)
    form = FORMAT if form.lower() in SPARSE_FORMS else form
    kind = str(file.attrs.get("kind", f"HDF5 file of format {form}"))
    if form == FORMAT and version == VERSION:
        return file
    file.close()
    if form != FORMAT:
        raise ValueError(f"{path}: expected a data set, found an {kind}; give the file that holds the rows")
    raise ValueError(f"{path}: has version {version}; this program reads version {VERSION}")


def trust(path: str) -> None:
    """Look at a file before HDF5 opens it here: at its seal, or, if it has none, in a child process.

    Raises
    ------
    ValueError
        One line: the file is damaged, or HDF5 crashes or does not end with it.
    """
    found = os.stat(path)
    known = (path, found.st_ino, found.st_size, found.st_mtime_ns)
    if known in _trusted:
        return
    if not check_seal(path):
        fault = fault_of_trial(lambda: _examine(path))
        if fault:
            raise DamagedFile(f"{path}: is not a whole HDF5 file: {fault}")
        with h5py.File(path, "r", locking=False) as file:
            refuse_lost_seal(path, file)
    _trusted.add(known)


def _examine(path: str) -> None:
    """Open all objects of a file, and read the first and the last row of each dataset that lies in the file."""

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset) and item.shape and len(item) and not _lies_elsewhere(item):
            item[0], item[len(item) - 1]

    with h5py.File(path, "r", locking=False) as file:
        dict(file.attrs)
        file.visititems(visit)


def get_object(file: h5py.File, name: str) -> Any:
    """Return an object of a file; None if there is none, or a link to nothing."""
    try:
        return file.get(name)
    except (OSError, RuntimeError):  # a loop of links, or one to a file that is not there
        return None


def _lies_elsewhere(found: h5py.Dataset) -> bool:
    return bool(found.is_virtual or found.external)


def refuse_linked(path: str, file: h5py.File, found: h5py.Dataset, linked: str) -> None:
    """Raise ValueError for a dataset whose numbers lie in other files, unless that is allowed and all are there."""
    name = (found.name or "").strip("/")
    where = ""
    if found.file.filename != file.filename:
        where = f"is a link into {found.file.filename}"
    elif found.external:
        where = f"lies in {found.external[0][0]}"
    elif found.is_virtual:
        where = f"is virtual, of {found.virtual_sources()[0].file_name if found.virtual_sources() else 'nothing'}"
    if where and linked != "allow":
        sparse = any(f"{group}indptr" in file for group in ("", "X/", "matrix/"))
        form = "csr" if sparse or name.endswith("indptr") else "dense"
        raise ValueError(
            f"{path}: dataset {name!r} {where}; to read other files, say --format hdf5-{form}:linked=allow"
        )
    if found.is_virtual:
        _refuse_missing(path, name, found)


def _refuse_missing(path: str, name: str, found: h5py.Dataset) -> None:
    """Raise ValueError for a virtual dataset of itself, or of a file that is not there: HDF5 reads zeros for it."""
    for source in found.virtual_sources():
        own = source.file_name == "."
        place = Path(path) if own else Path(path).parent / source.file_name
        if own or (place.exists() and place.samefile(path)):
            raise ValueError(f"{path}: dataset {name!r} is virtual, of its own file; only other files are allowed")
        if not place.is_file():
            raise ValueError(f"{path}: dataset {name!r} is virtual, of {source.file_name}, which does not exist")


def dataset(
    path: str, file: h5py.File, name: str, axes: int, length: int | None, whole: bool = False, linked: str = "refuse"
) -> h5py.Dataset:
    """Return the dataset `name`; ValueError if it is missing, has other axes or length, or other numbers.

    It is refused, too, if its numbers lie in other files, unless `linked` is "allow".
    """
    found = get_object(file, name)
    if not isinstance(found, h5py.Dataset):
        known: list[str] = []
        file.visititems(lambda n, item: known.append(n) if isinstance(item, h5py.Dataset) else None)
        raise ValueError(f"{path}: has no dataset {name!r}; it has: {', '.join(known[:20]) or 'none'}")
    kinds = "iu" if whole else "biuf"
    if found.ndim != axes or found.dtype.kind not in kinds or (length is not None and len(found) != length):
        wanted = f"{axes} axes of {'whole' if whole else 'real'} numbers" + (
            f", length {length}" if length is not None else ""
        )
        raise ValueError(f"{path}: dataset {name!r} has shape {found.shape}, type {found.dtype}; needed: {wanted}")
    refuse_linked(path, file, found, linked)
    return found


def read_slice(path: str, file: h5py.File, name: str, start: int, stop: int, dtype: Any) -> Array:
    """Read rows start … stop-1 of a dataset."""
    try:
        return np.ascontiguousarray(file[name][start:stop], dtype)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path}: dataset {name!r} cannot be read: {error}") from None


def find_vectors(
    path: str, file: h5py.File, options: Mapping[str, str], rows: Collection[str], n: int, linked: str = "refuse"
) -> Vectors:
    """Find the datasets of label and weight, each n real numbers.

    Parameters
    ----------
    path : str
        The file, for messages.
    file : h5py.File
        The open file.
    options : mapping of str to str
        `y` and `weight`: a dataset that must be there, "auto" for the usual one if it is there, or "none".
    rows : collection of str
        The datasets of the rows.
    n : int
        Number of rows.
    linked : str
        "allow" if the numbers may lie in other files.

    Raises
    ------
    ValueError
        If a dataset that is named is not there, or one that is used is not n real numbers.
    """
    found: dict[str, str] = {}
    for key, option in options.items():
        name = USUAL[key] if option == "auto" else option.strip("/")
        if option == "none" or (option == "auto" and name not in file):
            continue
        if not isinstance(get_object(file, name), h5py.Dataset):
            others = _of_length(file, n, [*rows, *found.values()]) or _of_length(file, None, [])
            listed = ", ".join(f"/{other}" for other in others[:SHOWN]) or "none"
            raise ValueError(f"{path}: there is no /{name}{nearest(name, others)}; there is {listed}")
        dataset(path, file, name, 1, n, linked=linked)
        found[key] = name
    used = dict(found)
    if _table(path, file).get("link") == GIVEN:
        for name in OF_MARGINS:
            if get_object(file, name) is not None:
                dataset(path, file, name, 1, n, linked=linked)
                used[name] = name
    others = _of_length(file, n, [*rows, *used.values(), *OWN])
    kind = "hdf5-csr" if any(name.endswith("indptr") for name in rows) else "hdf5-dense"
    lines = [
        unused_note(path, f"dataset /{name}", f"{kind}:{{}}={name}" if _is_vector(file[name]) else "", found)
        for name in others
    ]
    return Vectors(used, tuple(lines))


class Vectors(NamedTuple):
    """The datasets of label and weight that a file has, by option, and a line for each dataset that is not used."""

    names: dict[str, str]
    notes: tuple[str, ...]

    @property
    def places(self) -> dict[str, Place]:
        """Where label and weight are, as a `Schema` has it."""
        return {key: Place(self.names.get(option, "")) for key, option in (("label", "y"), ("weight", "weight"))}


def _of_length(file: h5py.File, n: int | None, without: Collection[str]) -> list[str]:
    """Return the datasets with an entry for each of n rows, or all datasets."""
    found: list[str] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and name not in without and (n is None or (item.shape or (0,))[0] == n):
            found.append(name)

    file.visititems(visit)
    return found


def _is_vector(item: h5py.Dataset) -> bool:
    return item.ndim == 1 and item.dtype.kind in "biuf"


def options_like(path: str, options: Mapping[str, str], given: Collection[str]) -> dict[str, str]:
    """Return the options of label and weight for another file, in which those that nobody has set may be missing."""
    with open_data(path) as file:
        missing = {key for key, option in options.items() if option not in ("auto", "none") and option not in file}
    return dict.fromkeys(missing - {*given}, "auto")


def with_vectors(
    path: str, file: h5py.File, names: Mapping[str, str], rows: NDArray[np.float64] | CsrRows, start: int, stop: int
) -> RawRows:
    """Return rows start … stop-1 with the entries of the datasets of `find_vectors`."""
    label, weight, offset, exposure = (
        read_slice(path, file, names[key], start, stop, np.float64) if key in names else None
        for key in (*USUAL, *OF_MARGINS)
    )
    label = np.full(stop - start, np.nan) if label is None else label
    stays = offset is not None or exposure is not None
    return RawRows(rows, label, weight, start, offset, stays, exposure)


def stated(path: str, file: h5py.File, ranks: int, n: int, d: int | None, linked: str = "refuse") -> Stated:
    """Read what a file says of its rows; `ranks` share the reading.

    Raises
    ------
    ValueError
        If the attribute `shape` is not (n, d), where the file has n rows and, if they are dense, d columns; or if
        `names` is not one name for each column.
    """
    shape, checksum = shape_of(path, file), file.attrs.get("checksum")
    if shape is not None and (shape[0] != n or shape[1] != (shape[1] if d is None else d)):
        found = f"{n} rows" + (f", {d} columns" if d is not None else "")
        raise ValueError(f"{path}: its attribute 'shape' says {shape}; the file has {found}")
    names = names_in(path, file, "names", linked=linked)
    columns = d if d is not None or shape is None else shape[1]
    if names is not None and columns is not None and len(names) != columns:
        raise ValueError(f"{path}: has {len(names)} names for {columns} features; one each is needed")
    return Stated(
        os.path.getsize(path) // ranks,
        names,
        None if shape is None else shape[1],
        checksum.decode() if isinstance(checksum, bytes) else None,
        _table(path, file),
    )


def _table(path: str, file: h5py.File) -> dict[str, Any]:
    """Return the schema that `convert` has written of a table, {} if there is none."""
    with text_lock:
        found = file.get("schema")
        if file.attrs.get("format") != FORMAT or not isinstance(found, h5py.Dataset):
            return {}
        stored = found[()]
    try:
        tree = json.loads(text(stored))
        if {*tree} >= {"columns", "titles", "link"}:
            return dict(tree)
    except (ValueError, TypeError):
        pass
    raise ValueError(f"{path}: its dataset 'schema' is damaged; convert the table again")


def shape_of(path: str, file: h5py.File) -> tuple[int, int] | None:
    """Return the attribute `shape`, None without one; ValueError if it is not two whole numbers of at least 0."""
    found = file.attrs.get("shape")
    return None if found is None else whole_shape(path, "attribute", found)


def whole_shape(path: str, where: str, found: Any) -> tuple[int, int]:
    """Return a stored shape; ValueError if it is not two whole numbers of at least 0."""
    numbers = np.asarray(found)
    is_whole = numbers.dtype.kind in "iuf" and bool((numbers == np.floor(numbers)).all() and (numbers >= 0).all())
    if numbers.shape != (2,) or not is_whole:
        raise ValueError(f"{path}: its {where} 'shape' must be two whole numbers, rows and columns; not {found}")
    return int(numbers[0]), int(numbers[1])


def texts(value: Any) -> list[str]:
    """Return an attribute as words; none if it is no text."""
    return [text(v) for v in np.atleast_1d(value).tolist() if isinstance(v, str | bytes)] if value is not None else []


def text(value: Any) -> str:
    """Return a value as text: bytes as UTF-8, numbers in digits."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def names_in(path: str, file: h5py.File, name: str, d: int | None = None, linked: str = "refuse") -> list[str] | None:
    """Return a dataset of d names as text, None if there is none.

    Raises
    ------
    ValueError
        If it has another shape or type, or lies in another file: names are shown, and kept with the model.
    """
    with text_lock:
        found = get_object(file, name)
        if found is None:
            return None
        word = isinstance(found, h5py.Dataset) and (h5py.check_string_dtype(found.dtype) or found.dtype.kind in "iuf")
        if not word or found.ndim != 1:
            raise ValueError(f"{path}: {name!r} must be a dataset with one axis: a name for each column")
        refuse_linked(path, file, found, linked)
        if len(found) > MOST_NAMES or (d is not None and len(found) != d):
            wanted = f"the {d} features" if d is not None else "the features"
            raise ValueError(f"{path}: has {len(found)} names in {name!r} for {wanted}; one each is needed")
        return [text(name) for name in found[:].tolist()]
