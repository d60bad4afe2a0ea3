"""What a binary file states of its shape is what it holds, or the file is refused in one line; names become text."""

import io
import struct
import zipfile

import h5py
import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.formats.base import open_source

X, Y = np.arange(12.0).reshape(4, 3) + 1.0, np.arange(4.0)
DENSE = {"X": X, "y": Y}
CSR = {"indptr": np.array([0, 2, 3, 4, 6]), "indices": np.array([0, 2, 1, 0, 1, 2]), "data": np.ones(6), "y": Y}


def hdf5(path, content, attributes=None):
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            file[name] = values
        file.attrs.update(attributes or {})
    return path


def read(path, size):
    return spmd(size, lambda c: prepare(str(path), "real", DataOptions(), 1, c), timeout=60)


def refused(path, size):
    with pytest.raises(ValueError, match=str(path)) as caught:
        read(path, size)
    assert "\n" not in str(caught.value)
    return str(caught.value).partition(f"{path}")[2]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    ("names", "found"),
    [
        (np.arange(3), ["0", "1", "2"]),
        (np.array([1.5, 2.0, -3.0]), ["1.5", "2.0", "-3.0"]),
        (np.array([b"a", b"b", b"\xff"]), ["a", "b", "\\xff"]),
        (["a", "b", "é"], ["a", "b", "é"]),
    ],
)
def test_names_become_text(tmp_path, names, found, size):
    for content in (DENSE, CSR):
        path = hdf5(tmp_path / "f.h5", {**content, "names": names})
        assert read(path, size)[0].names == found


SHAPES = {
    (9, 3): "says (9, 3); the file has 4 rows, 3 columns",
    (4, 9): "says (4, 9); the file has 4 rows, 3 columns",
    (4, 3, 1): "must be two whole numbers, rows and columns; not [4 3 1]",
    (4, -3): "must be two whole numbers",
    (4.0, 2.5): "must be two whole numbers",
    "4 x 3": "must be two whole numbers",
    4: "must be two whole numbers",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrong_shape_of_dense_rows(tmp_path, shape):
    path = hdf5(tmp_path / "f.h5", DENSE, {"shape": shape})
    for size in (1, 3):
        assert SHAPES[shape] in refused(path, size)


def test_the_right_shape_is_taken(tmp_path):
    assert read(hdf5(tmp_path / "f.h5", DENSE, {"shape": (4.0, 3.0)}), 1)[0].shard.features == 3
    wider = read(hdf5(tmp_path / "g.h5", CSR, {"shape": (4, 7), "format": "csr"}), 3)
    assert wider[0].shard.features == 7


def turned(**changes):
    return {**CSR, **changes}


SPARSE = {
    "rows": (CSR, {"shape": (9999, 3)}, "its attribute 'shape' says (9999, 3); the file has 4 rows"),
    "columns by shape": (CSR, {"shape": (3, 4)}, "holds a sparse matrix by columns (CSC); rows are needed (CSR)"),
    "columns by format": (CSR, {"format": "csc"}, "holds a sparse matrix by columns (CSC)"),
    "columns by encoding": (CSR, {"encoding-type": "csc_matrix"}, "holds a sparse matrix by columns (CSC)"),
    "columns of a square": (CSR, {"shape": (4, 4), "h5sparse_format": b"csc"}, "holds a sparse matrix by columns"),
    "beyond the columns": (CSR, {"shape": (4, 2)}, "row 1: found index 2; indices from 0 to 1"),
    "negative": (turned(indices=np.array([0, 2, 1, -1, 1, 2])), {}, "row 3: found index -1"),
    "falling": (turned(indices=np.array([2, 0, 1, 0, 1, 2])), {}, "row 1: found index 0"),
    "twice": (turned(indices=np.array([2, 2, 1, 0, 1, 2])), {}, "row 1: found index 2"),
    "too large": (turned(indices=np.array([0, 2, 1, 0, 1, 2**31])), {}, "row 4: found index 2147483648"),
    "indices not whole": (turned(indices=CSR["indices"] * 1.0), {}, "needed: 1 axes of whole numbers, length 6"),
    "few indices": (turned(indices=CSR["indices"][:-1]), {}, "needed: 1 axes of whole numbers, length 6"),
    "pointer falls": (turned(indptr=np.array([0, 3, 2, 4, 6])), {}, "indptr must ascend from 0 to 6"),
    "pointer starts late": (
        turned(indptr=np.array([1, 2, 3, 4, 6])),
        {},
        "indptr must ascend from 0 to 6, the number of stored values; it goes from 1 to 6",
    ),
    "pointer ends early": (turned(indptr=np.array([0, 2, 3, 4, 5])), {}, "it goes from 0 to 5"),
    "pointer ends late": (turned(indptr=np.array([0, 2, 3, 4, 7])), {}, "it goes from 0 to 7"),
    "pointer not whole": (turned(indptr=CSR["indptr"] + 0.5), {}, "needed: 1 axes of whole numbers"),
    "no pointer": (turned(indptr=CSR["indptr"][:0]), {}, "indptr is empty"),
    "labels": (turned(y=np.arange(5.0)), {}, "dataset 'y' has shape (5,)"),
    "few names": (turned(names=["a", "b"]), {"shape": (4, 3)}, "has 2 names for 3 features"),
    "names in a table": (turned(names=[["a", "b", "c"]]), {}, "'names' must be a dataset with one axis"),
}


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("case", SPARSE)
def test_a_wrong_sparse_matrix(tmp_path, case, size):
    content, attributes, message = SPARSE[case]
    assert message in refused(hdf5(tmp_path / "f.h5", content, attributes), size)


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"(3, 3)", "the header of the array states the shape (3, 3), 72 bytes; it has 96"),
        (b"(4, 2)", "the header of the array states the shape (4, 2), 64 bytes; it has 96"),
        (b"(9, 3)", "is not a whole .npy file"),
        (b"(-4,3)", "is not a whole .npy file"),
    ],
)
def test_a_wrong_header_of_npy(tmp_path, written, message, size):
    (tmp_path / "f.npy").write_bytes(npy(X).replace(b"(4, 3)", written))
    assert message in refused(tmp_path / "f.npy", size)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("written", [b"(4, 2)", b"(4, 9)", b"(-4,3)"])
def test_a_wrong_header_in_npz(tmp_path, written, size):
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("X.npy", npy(X).replace(b"(4, 3)", written))
        archive.writestr("y.npy", npy(Y))
    assert "the header of X states the shape" in refused(tmp_path / "f.npz", size)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("stated", "message"), [(3, "has more entries than"), (5, "is cut off"), (4, "")])
def test_a_wrong_header_of_idx(tmp_path, stated, message, size):
    images = tmp_path / "t-images-idx3-ubyte"
    images.write_bytes(b"\0\0\x08\x03" + struct.pack(">3I", stated, 2, 2) + bytes(range(16)))
    labels = b"\0\0\x08\x01" + struct.pack(">I", stated) + bytes(range(stated))
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(labels)
    if message:
        assert message in refused(images, size)
    else:
        pieces = spmd(size, lambda c: sum(len(p) for p in open_source(str(images), "auto", None, c).pieces()))
        assert sum(pieces) == 4
