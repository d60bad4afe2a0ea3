"""A prepared data set is the same sequence on any number of ranks, to the last bit."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import ORDERS, SCALES, DataOptions
from mpiopt.data import row_storage
from mpiopt.data.dataset import Dataset, prepare
from mpiopt.data.row_storage import SpilledBuffers, storage_of
from mpiopt.data.shard import CsrRows, Shard

SIZES = (1, 2, 3, 5)


def table(shard: Shard) -> np.ndarray:
    """One row of columns, label and weight for each position of this rank's block."""
    columns = shard.features + shard.intercept
    x = np.zeros((len(shard), columns))
    if isinstance(shard.rows, CsrRows):
        rows = np.repeat(np.arange(len(shard)), np.diff(shard.rows.indptr))
        x[rows, shard.rows.indices] = shard.rows.values
    else:
        x[:] = shard.rows.values[:, :columns]
        assert shard.rows.values.ctypes.data % 64 == 0
        assert not shard.rows.values[:, columns:].any()
    found = np.empty((len(shard), columns + 2))
    found[shard.order] = np.column_stack([x, shard.label, shard.weight])
    return found


def whole(path: str, target: str, options: DataOptions, size: int) -> tuple[list[Dataset], np.ndarray, np.ndarray]:
    sets = spmd(size, lambda comm: prepare(str(path), target, options, 3, comm))
    tests = [table(s.test) for s in sets if s.test is not None]
    return sets, np.concatenate([table(s.shard) for s in sets]), np.concatenate(tests) if tests else np.empty(0)


@pytest.fixture(params=["dense", "sparse"])
def file(request, tmp_path):
    rng = np.random.default_rng(5)
    chance = 0.9 if request.param == "dense" else 0.1
    path = tmp_path / "made.svm"
    with path.open("w") as out:
        for i in range(97):
            kept = np.flatnonzero(rng.random(11) < chance)
            out.write(f"{rng.integers(1, 3)} " + " ".join(f"{k + 1}:{rng.normal() + 5!r}" for k in kept))
            out.write(f" # row {i}\n" if i % 9 == 0 else "\n")
    return path


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shards", ORDERS)
def test_the_sequence_is_the_same_on_any_number_of_ranks(file, shards, scale):
    options = DataOptions(shards=shards, scale=scale, holdout=0.2, intercept=True)
    sets, rows, test = whole(file, "binary", options, 1)
    assert len(rows) + len(test) == 97
    assert len(test) > 5
    for size in SIZES[1:]:
        others, same_rows, same_test = whole(file, "binary", options, size)
        assert np.array_equal(rows, same_rows)
        assert np.array_equal(test, same_test)
        assert {s.checksum for s in others} == {sets[0].checksum}
        assert all(np.array_equal(s.mean, sets[0].mean) and np.array_equal(s.scale, sets[0].scale) for s in others)


@pytest.mark.parametrize("shards", ORDERS)
def test_every_order_is_a_permutation_of_the_rows(file, shards):
    _, rows, _ = whole(file, "binary", DataOptions(shards=shards), 3)
    _, plain, _ = whole(file, "binary", DataOptions(shards="contiguous"), 1)
    assert np.array_equal(
        np.sort(rows.view([("", float)] * rows.shape[1]), axis=0),
        np.sort(plain.view([("", float)] * rows.shape[1]), axis=0),
    )
    if shards != "contiguous":
        assert not np.array_equal(rows, plain)


@pytest.mark.parametrize("coordinates", ["file", "standardised"])
@pytest.mark.parametrize("float32", [False, True])
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_rows_in_a_file_are_those_in_memory_to_the_last_bit(file, tmp_path, scale, float32, coordinates):
    options = DataOptions(scale=scale, holdout=0.2, intercept=True, float32=float32, coordinates=coordinates)
    for size in SIZES[::2]:
        _, rows, test = whole(file, "binary", options, size)
        sets, same_rows, same_test = whole(file, "binary", replace(options, stream=str(tmp_path)), size)
        assert np.array_equal(rows, same_rows)
        assert np.array_equal(test, same_test)
        for one in sets:
            assert storage_of(one.shard.rows.values).folder == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made.svm"]


@pytest.mark.parametrize("shards", ORDERS)
def test_a_part_of_the_rows_has_the_same_rows_on_any_number_of_ranks(shards):
    def part(comm, factor):
        data = prepare("generate:n=3000,d=3", "real", DataOptions(shards=shards), 3, comm)
        count = int(data.shard.parts[factor])
        assert data.shard.parts[1] == len(data.shard)
        return data.shard.start + data.shard.order[:count]

    for factor in (2, 7, 64):
        alone = np.sort(spmd(1, lambda comm, f=factor: part(comm, f))[0])
        assert 0.5 < len(alone) / (3000 / factor) < 1.6
        for size in SIZES[1:]:
            assert np.array_equal(alone, np.sort(np.concatenate(spmd(size, lambda comm, f=factor: part(comm, f)))))


def test_a_disk_that_is_full_on_one_rank_ends_all_ranks(file, tmp_path, monkeypatch):
    monkeypatch.setattr(row_storage, "SPILL", 1)
    full: list[SpilledBuffers] = []
    write = SpilledBuffers.write

    def write_on_others(self, raw):
        full.append(self)
        if self is full[0]:
            raise ValueError("no space left")
        return write(self, raw)

    monkeypatch.setattr(SpilledBuffers, "write", write_on_others)
    options = DataOptions(stream=str(tmp_path), holdout=0.2)
    with pytest.raises(ValueError, match=r"rank \d: no space left"):
        spmd(3, lambda comm: prepare(str(file), "binary", options, 3, comm), timeout=20.0)
