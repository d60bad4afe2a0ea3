"""What is wrong with a data set is said in one line: the file, the place, what was found, what is allowed."""

import gzip
import lzma
import struct

import h5py
import numpy as np
import pyarrow
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.convert import convert
from mpiopt.data.dataset import prepare
from mpiopt.data.formats.base import find_reader

TEXTS = {
    "1 1:2\n1 2:x\n": r"f.svm, line 2, column 5: found 'x'; a value must be a finite decimal number$",
    "1 1:nan\n1 1:1\n": r"f.svm, line 1, column 5: found 'nan'; a value must be a finite decimal number$",
    "1 1:1\n\n# c\n-inf 1:1\n": r"line 4, column 1: found '-inf'; a row must begin with one label, a finite number$",
    "1 1:1\n1 2:1 1:3\n": r"line 2, column 7: found '1:3'; the indices of a row must ascend, each at most once$",
    "1 1:1\n1 2:1 2:3\n": r"found '2:3'; the indices of a row must ascend",
    "1 qid:3 1:1\n": r"column 3: found 'qid:3'; query ids \(ranking\) are not supported; remove the qid field$",
    "1 1:1\n1 -1:1\n": r"line 2, column 3: found '-1:1'; expected index:value with a whole index$",
    "1 1:1\n1 00:1\n": r"line 2, column 3: found '00:1'; indices begin at 1 in this file$",
    "1 1:1\n1 7\n": r"line 2, column 3: found '7'; expected index:value with a whole index$",
    "1 1:1\n1:1 2:1\n": r"line 2, column 1: found '1:1'; a row must begin with one label",
    "1 1:1\n1 3:1e999\n": r"line 2, column 5: found '1e999'; the number is too large for float64$",
    "1 1:1\n1 3:0x10\n": r"found '0x10'; a value must be",
    "1 1:1\n1 3:1_0\n": r"found '1_0'; a value must be",
    "1 1:1\n1 3:\n": r"line 2, column 5: found the end of the line; a value must be",
    "1 1:1\n1 9:1\n": r"found '9:1'; indices from 1 to 8 are allowed \(--features 8\)$",
    "1 0:1\n1 8:1\n": r"found '8:1'; indices from 0 to 7 are allowed \(--features 8\)$",
    "1 1:1\n1 99999999999999999999:1\n": r"indices from 1 to 8 are allowed",
    "": r"f.svm: has no rows$",
    "# only\n\n": r"f.svm: has no rows$",
    "1 1:1\n1 2:1\n": r"f.svm: all rows have the label 1; a classifier needs at least two classes$",
}


def problem(path, target="binary", options=None, size=3):
    with pytest.raises((ValueError, OSError)) as caught:
        spmd(size, lambda c: prepare(str(path), target, options or DataOptions(features=8), 1, c), timeout=20)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [1, 3])
def test_libsvm(tmp_path, text, size):
    path = tmp_path / "f.svm"
    path.write_text(text)
    import re

    message = problem(path, size=size)
    assert re.search(TEXTS[text], message), message


def test_the_line_is_absolute_whichever_rank_finds_it(tmp_path):
    path = tmp_path / "f.svm"
    path.write_text("".join(f"{i % 2} 1:{i}\n" for i in range(400)) + "1 1:oops\n" + "1 1:1\n" * 20)
    message = problem(path, size=5)
    assert message == f"rank 4: {path}, line 401, column 5: found 'oops'; a value must be a finite decimal number"


WORDS = "; to train on a table with words or gaps, name the column of the target: --target NAME"
CSV = {
    "1,2\n3\n": "line 2, column 1: found '3'; every row must have 2 fields, as the first has",
    "1,2\n1,2,3\n": "line 2, column 3: found '2'; every row must have 2 fields, as the first has",
    "a,b\n\n1,2\n3,\n": "line 4, column 3: found the end of the line; a field must be a finite decimal number"
    + WORDS,
    "1,2,3\n1,,2\n": "line 2, column 3: found an empty field; a field must be a finite decimal number" + WORDS,
    "1,2\nNaN,2\n": "line 2, column 1: found 'NaN'; a field must be a finite decimal number" + WORDS,
    "1,2\n1e999,2\n": "line 2, column 1: found '1e999'; the number is too large for float64",
    "1 2 3\n1 2\n": "line 2, column 3: found '2'; every row must have 3 fields, as the first has",
    "5\n6\n": "has 1 columns; at least one besides label and weight is needed",
    "a,b\n": "has no rows",
    "": "has no rows",
}


@pytest.mark.parametrize("text", CSV)
def test_csv(tmp_path, text):
    (tmp_path / "f.csv").write_text(text)
    assert problem(tmp_path / "f.csv").endswith(CSV[text])


def test_csv_columns(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("alpha,beta,y\n1,2,3\n")
    message = problem(path, options=DataOptions(format="csv:label=betta"))
    assert message.endswith("no column 'betta' (did you mean 'beta'?); columns: alpha, beta, y")
    assert "csv has no option 'labl' (did you mean 'label'?)" in problem(
        path, options=DataOptions(format="csv:labl=x")
    )
    assert "unknown reader 'cvs' (did you mean 'csv'?)" in problem(path, options=DataOptions(format="cvs"))


LABELS = {
    ("binary", "1 2 3"): "3 distinct labels (1, 2, 3) do not fit",
    ("multiclass", "0.5 1 2"): "3 distinct labels (0.5, 1, 2) do not fit",
    ("count", "0 1 -2"): "3 distinct labels (-2, 0, 1) do not fit",
}


@pytest.mark.parametrize(("target", "labels"), LABELS)
def test_labels_that_do_not_fit_name_what_would(tmp_path, target, labels):
    path = tmp_path / "f.svm"
    path.write_text("".join(f"{v} 1:1\n" for v in labels.split()))
    message = problem(path, target)
    assert LABELS[target, labels] in message
    assert "losses that fit: " in message


def test_a_label_unknown_in_training_is_refused_in_the_test_file(tmp_path):
    train, test = tmp_path / "a.svm", tmp_path / "b.svm"
    train.write_text("1 1:1\n2 2:1\n")
    test.write_text("1 1:1\n3 2:1\n")
    message = problem(train, options=DataOptions(test=str(test)))
    assert message.endswith("b.svm: label 3 is not a class of the training data: 1, 2")
    test.write_text("1 1:1\n2 3:1\n")
    assert "indices from 1 to 2 are allowed (--features 2)" in problem(train, options=DataOptions(test=str(test)))


def test_numbers_in_binary_files(tmp_path):
    x, y = np.ones((5, 3)), np.arange(5.0)
    x[3, 1] = np.inf
    np.savez(tmp_path / "a.npz", X=x, y=y)
    assert problem(tmp_path / "a.npz", "real").endswith(
        "a.npz, row 4, feature 2: found inf; finite numbers are allowed"
    )
    np.savez(tmp_path / "b.npz", X=np.ones((5, 3)), y=y, weight=y - 2)
    assert problem(tmp_path / "b.npz", "real").endswith(
        "b.npz, row 1: weight -2; finite numbers of at least 0 are allowed"
    )
    np.savez(tmp_path / "c.npz", X=np.ones((5, 3)), y=y[:4])
    assert problem(tmp_path / "c.npz", "real").endswith("y has 4 entries; X has 5 rows")
    np.savez(tmp_path / "d.npz", Z=y)
    assert problem(tmp_path / "d.npz", "real").endswith("has no array X; it has: Z")
    np.savez(tmp_path / "e.npz", X=np.ones((5, 3)))
    assert problem(tmp_path / "e.npz", "real").endswith("has no labels to train on")
    np.savez(tmp_path / "f.npz", X=np.ones((5, 3)), y=y, weight=0 * y)
    assert problem(tmp_path / "f.npz", "real").endswith("all weights are zero; at least one must be above")
    np.save(tmp_path / "g.npy", np.ones((5, 9, 2)))
    assert "the array has shape (5, 9, 2)" in problem(tmp_path / "g.npy", "real")
    np.save(tmp_path / "h.npy", np.ones((5, 10)))
    assert problem(tmp_path / "h.npy", "real").endswith("has 9 features; at most 8 are allowed here (--features)")


def test_files_cut_off(tmp_path):
    whole = gzip.compress(b"1 1:1\n0 2:1\n" * 5000)
    (tmp_path / "a.svm.gz").write_bytes(whole[:-20])
    assert "a.svm.gz: the compressed file is damaged or cut off" in problem(tmp_path / "a.svm.gz")
    lines = b"".join(b"%d 1:%d\n" % (i % 2, i * i) for i in range(5000))
    for name, packed in (
        ("b.svm.xz", lzma.compress(lines)),
        ("b.svm.zst", pyarrow.compress(lines, "zstd", asbytes=True)),
    ):
        # The zst file has no checksum, as some programs write it: what is unpacked may then be refused as text.
        spoilt = [packed[:900] + b"x" * 90 + packed[990:]] if name.endswith("xz") else []
        for damaged in (packed[:-20], *spoilt):
            (tmp_path / name).write_bytes(damaged)
            assert f"{name}: the compressed file is damaged or cut off" in problem(tmp_path / name)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["X"], f["y"] = np.ones((500, 3)), np.ones(500)
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[: len(whole) // 2])
    assert "a.h5: is not a whole HDF5 file" in problem(tmp_path / "a.h5")
    np.save(tmp_path / "a.npy", np.ones((500, 3)))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[: len(whole) // 2])
    assert "a.npy: is not a whole .npy file" in problem(tmp_path / "a.npy")
    images = tmp_path / "t-images-idx3-ubyte"
    images.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, 4, 2, 2) + bytes(9))
    assert "must be in the same folder in t-labels-idx1-ubyte; there is no such file" in problem(images)
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 4) + bytes(4))
    assert "is cut off: its header states more entries than it has" in problem(images)


def test_foreign_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as f:
        f["model/coef"] = np.ones(3)
    assert problem(path).endswith("a.h5: has no dataset 'X'; it has: model/coef")
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as f:
        f["indptr"], f["indices"], f["data"], f["y"] = [0, 2, 4], [0, 1, 3, 2], np.ones(4), [0, 1]
    assert "b.h5, row 2: found index 2; indices from 0 to 7, ascending within a row, are allowed" in problem(path)
    path = tmp_path / "c.h5"
    with h5py.File(path, "w") as f:
        f["indptr"], f["indices"], f["data"], f["y"] = [0, 3, 1], [0, 1, 3, 2], np.ones(4), [0, 1]
    assert "indptr must ascend from 0 to 4" in problem(path)
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as f:
        f.attrs["format"], f.attrs["version"] = "mpiopt-data", 99
        f["X"] = np.ones((2, 2))
    assert problem(path).endswith("has version 99; this program reads version 1")


def test_files_that_are_none(tmp_path):
    (tmp_path / "train.svm").write_text("1 1:1\n")
    assert problem(tmp_path / "tran.svm").endswith("no such file (did you mean 'train.svm'?)")
    assert problem(tmp_path).endswith("is a folder, not a file")
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.4\n")
    assert "its name and first bytes do not tell its format; set --format to one of: criteo, csv, " in problem(
        tmp_path / "x.pdf"
    )
    with pytest.raises(ValueError, match="do not tell its format"):
        find_reader(str(tmp_path / "x.pdf"))


def test_options():
    with pytest.raises(
        ValueError, match=r"scale must be one of none, .*; not 'standart' \(did you mean 'standard'\?\)"
    ):
        DataOptions(scale="standart")
    with pytest.raises(ValueError, match="holdout must be at least 0 and below 1, not 1"):
        DataOptions(holdout=1)
    assert "density must be above 0" in problem("generate:density=0")
    assert "has no option 'rows'" in problem("generate:rows=5")
    assert "option n='x' is not a number" in problem("generate:n=x")


def test_nothing_half_written_is_left(tmp_path):
    source = tmp_path / "f.svm"
    source.write_text("1 1:1\n0 2:1\n" * 50 + "1 1:x\n")
    with pytest.raises(ValueError, match="line 101"):
        spmd(3, lambda c: convert(str(source), str(tmp_path / "o.h5"), c), timeout=20)
    with pytest.raises(OSError, match="cannot be written: No such file or directory"):
        spmd(3, lambda c: convert("generate:n=5", str(tmp_path / "no" / "o.h5"), c), timeout=20)
    assert [p.name for p in tmp_path.iterdir()] == ["f.svm"]


def test_a_data_file_is_not_converted_onto_itself(tmp_path):
    source = tmp_path / "f.svm"
    source.write_text("1 1:1\n0 2:1\n")
    (tmp_path / "link").symlink_to(source)
    for out in (source, tmp_path / "link"):
        with pytest.raises(ValueError, match=r"is another file of this command; choose another name for the output$"):
            spmd(2, lambda c, out=out: convert(str(source), str(out), c), timeout=20)
    assert source.read_text() == "1 1:1\n0 2:1\n"


@pytest.mark.parametrize("key", ["n", "d", "blocks", "classes"])
def test_made_up_data_of_absurd_size_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match=f"generate: {key} must be at most 1e15"):
        spmd(2, lambda c: convert(f"generate:{key}=1e30", str(tmp_path / "o.h5"), c), timeout=20)
