"""Every reader gives the same rows for the same content; the pieces of all ranks partition the rows exactly."""

import bz2
import gzip
import lzma
import struct

import h5py
import numpy as np
import pyarrow
import pytest
import scipy.sparse as sp

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.convert import ConvertOptions, convert
from mpiopt.data.dataset import prepare, stream
from mpiopt.data.formats.base import Reader, find_reader
from mpiopt.data.shard import CsrRows
from tests.cases.result_files import changed

SIZES = (1, 2, 3, 5)
N, D = 41, 6


def content():
    """Small whole numbers, so that every format can hold them; half are zeros; 3 classes; the last column is used."""
    rng = np.random.default_rng(11)
    x = rng.integers(1, 256, (N, D)) * (rng.random((N, D)) < 0.5)
    x[0, D - 1] = 7
    return x.astype(float), rng.integers(0, 3, N).astype(float)


def _svm(x, y, base=1):
    rows = (
        f"{b:g} " + " ".join(f"{k + base}:{a[k]:g}" for k in np.flatnonzero(a)) for a, b in zip(x, y, strict=True)
    )
    return "\n".join(rows)


def _csv(x, y, separator=","):
    return "\n".join(separator.join(f"{v:g}" for v in [*a, b]) for a, b in zip(x, y, strict=True))


def _hdf5_csr(path, x, y):
    s = sp.csr_matrix(x)
    with h5py.File(path, "w") as f:
        f["indptr"], f["indices"], f["data"], f["y"] = s.indptr, s.indices, s.data, y


def _hdf5(path, x, y):
    with h5py.File(path, "w") as f:
        f["X"], f["y"] = x.astype(np.float32), y.astype(np.int32)


def _idx(path, x, y, pack=lambda b: b):
    images = struct.pack(">BBBBIII", 0, 0, 8, 3, N, 2, D // 2) + x.astype(np.uint8).tobytes()
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, N) + y.astype(np.uint8).tobytes()
    path.write_bytes(pack(images))
    path.with_name(path.name.replace("images-idx3", "labels-idx1")).write_bytes(pack(labels))


def _zst(text):
    return pyarrow.compress(text.encode(), "zstd", asbytes=True)


WRITERS = {
    "a.svm": lambda p, x, y: p.write_text(_svm(x, y)),
    "no-newline-crlf.libsvm": lambda p, x, y: p.write_bytes(_svm(x, y).replace("\n", "\r\n").encode()),
    "zero.svm": lambda p, x, y: p.write_text("# from 0\n\n" + _svm(x, y, 0).replace("\n", " # c\n \n", 5) + "\n"),
    "a.svm.gz": lambda p, x, y: p.write_bytes(gzip.compress(_svm(x, y).encode())),
    "plain-name": lambda p, x, y: p.write_bytes(bz2.compress(_svm(x, y).encode())),
    "a.csv": lambda p, x, y: p.write_text("a,b,c,d,e,f,y\n" + _csv(x, y) + "\n"),
    "b.csv.gz": lambda p, x, y: p.write_bytes(gzip.compress(_csv(x, y, ";").encode())),
    "x.csv.xz": lambda p, x, y: p.write_bytes(lzma.compress(_csv(x, y).encode())),
    "z.svm.zst": lambda p, x, y: p.write_bytes(_zst(_svm(x, y)[:90]) + _zst(_svm(x, y)[90:])),
    "c.tsv": lambda p, x, y: p.write_text(_csv(x, y, "\t").replace("\n", "\r\n")),
    "d.csv": lambda p, x, y: p.write_text(_csv(x, y, "  ").replace("\n", " \n")),
    "a.npy": lambda p, x, y: np.save(p, np.column_stack([x, y]).astype(np.float32)),
    "fortran.npy": lambda p, x, y: np.save(p, np.asfortranarray(np.column_stack([x, y]))),
    "a.npz": lambda p, x, y: np.savez(p, X=x.astype(np.int16), y=y),
    "b.npz": lambda p, x, y: np.savez_compressed(p, X=np.asfortranarray(x), y=y.astype(np.uint8)),
    "dense.h5": _hdf5,
    "sparse.h5": _hdf5_csr,
    "t-images-idx3-ubyte": _idx,
    "z-images-idx3-ubyte.gz": lambda p, x, y: _idx(p, x, y, gzip.compress),
}


@pytest.fixture(params=WRITERS)
def file(request, tmp_path):
    path = tmp_path / request.param
    WRITERS[request.param](path, *content())
    return str(path)


def rows_of(piece):
    if not isinstance(piece.rows, CsrRows):
        return piece.rows
    r = piece.rows
    return sp.csr_matrix((r.values, r.indices, r.indptr), shape=(len(r), D)).toarray()


def test_every_reader_but_the_generator_has_a_file_here(tmp_path):
    used = set()
    for name, write in WRITERS.items():
        write(tmp_path / name, *content())
        used.add(find_reader(str(tmp_path / name)).name)
    assert used == set(Reader.known()) - {"generated", "criteo"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("nbytes", [64, 1 << 20])
def test_the_pieces_of_all_ranks_are_the_rows(file, size, nbytes):
    x, y = content()
    pieces = [p for ps in spmd(size, lambda c: list(stream(file, DataOptions(), c, nbytes))) for p in ps]
    pieces.sort(key=lambda p: p.start)
    assert [p.start for p in pieces] == list(np.cumsum([0] + [len(p) for p in pieces[:-1]]))
    assert np.array_equal(np.concatenate([rows_of(p) for p in pieces]), x)
    assert np.array_equal(np.concatenate([p.label for p in pieces]), y)


def test_formats_and_ranks_give_one_checksum_and_one_sequence(file, tmp_path):
    reference = tmp_path / "reference.svm"
    reference.write_text(_svm(*content()))
    options = DataOptions(intercept=True, scale="standard")
    expected = spmd(1, lambda c: prepare(str(reference), "multiclass", options, 5, c))[0]
    for size in (1, 3):
        sets = spmd(size, lambda c: prepare(file, "multiclass", options, 5, c))
        assert {s.checksum for s in sets} == {expected.checksum}
        places = np.argsort(np.concatenate([s.shard.start + s.shard.order for s in sets]))
        values = np.concatenate([s.shard.rows.values for s in sets])[places]
        there = np.argsort(expected.shard.order)
        assert np.array_equal(values, expected.shard.rows.values[there])
        assert np.array_equal(np.concatenate([s.shard.label for s in sets])[places], expected.shard.label[there])


@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("size", SIZES)
def test_converted_files_have_the_same_content(file, size, form, tmp_path):
    out = str(tmp_path / "out.h5")
    made = spmd(size, lambda c: convert(file, out, c, ConvertOptions(form=form)))[0]
    assert (made.rows, made.features, made.form) == (N, D, form)
    again = spmd(2, lambda c: prepare(out, "multiclass", DataOptions(shards="contiguous"), 5, c))
    assert again[0].checksum == made.checksum
    first = spmd(2, lambda c: prepare(file, "multiclass", DataOptions(shards="contiguous"), 5, c))
    assert np.array_equal(again[1].shard.rows.values, first[1].shard.rows.values)
    assert again[0].names == first[0].names
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_weights_travel_with_their_rows_and_have_mean_one(tmp_path):
    x, y = content()
    weight = np.arange(N) / 3.0
    np.savez(tmp_path / "w.npz", X=x, y=y, weight=weight)
    spmd(2, lambda c: convert(str(tmp_path / "w.npz"), str(tmp_path / "w.h5"), c))
    for name in ("w.npz", "w.h5"):
        sets = spmd(
            3, lambda c, n=name: prepare(str(tmp_path / n), "real", DataOptions(shards="sorted-by-label"), 5, c)
        )
        got = np.concatenate([s.shard.weight[np.argsort(s.shard.order)] for s in sets])
        assert np.allclose(got, (weight / weight.mean())[np.argsort(y, kind="stable")], rtol=1e-15)


def test_a_changed_file_does_not_pass_its_checksum(tmp_path):
    out = str(tmp_path / "out.h5")
    np.savez(tmp_path / "a.npz", X=content()[0], y=content()[1])
    spmd(1, lambda c: convert(str(tmp_path / "a.npz"), out, c))
    with changed(tmp_path / "out.h5") as f:
        f["X"][3, 2] += 1
    with pytest.raises(ValueError, match="is damaged: its content has checksum"):
        spmd(2, lambda c: prepare(out, "real", DataOptions(), 5, c))


RECIPES = [
    "generate:n=5000,d=7,condition=100,heterogeneity=1",
    "generate:n=9000,d=600,density=0.02,task=binary,heterogeneity=.5",
    "generate:n=300,d=3,task=multiclass,classes=4",
    "generate:n=300,d=3,task=count,seed=4",
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_made_up_rows_do_not_depend_on_the_number_of_ranks(recipe):
    sums = {spmd(size, lambda c: prepare(recipe, "real", DataOptions(), 5, c))[0].checksum for size in SIZES}
    assert len(sums) == 1


def test_made_up_rows_have_the_condition_number_asked_for():
    shard = spmd(
        1, lambda c: prepare("generate:n=20000,d=10,condition=1e4", "real", DataOptions(coordinates="file"), 5, c)
    )[0].shard
    x = shard.rows.values[:, :10]
    assert 0.8e4 < np.linalg.cond(x.T @ x) < 1.25e4
    w = np.linalg.lstsq(x, shard.label, rcond=None)[0]
    assert np.std(x @ w - shard.label) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_fewer_rows_than_ranks_work(size, tmp_path):
    path = tmp_path / "two.svm"
    path.write_text("1 1:1\n0 2:1\n")
    sets = spmd(size, lambda c: prepare(str(path), "binary", DataOptions(scale="standard", intercept=True), 1, c))
    assert sorted(np.concatenate([s.shard.label for s in sets])) == [-1, 1]
