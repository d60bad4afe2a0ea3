"""Ordered categories are their places in the order; levels of hashed columns that share a place are counted."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.utils import murmurhash3_32

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.tables.hashed_levels import HashedLevels
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt as command
from tests.cases.command import mpiopt_on
from tests.laws.test_prepare import table

ORDER = ["S", "M", "L", "XL"]
RNG = np.random.default_rng(3)
SIZE = pd.Categorical(RNG.choice(["L", "M", "S", None], 120, p=[0.3, 0.3, 0.3, 0.1]), ORDER, ordered=True)
FRAME = pd.DataFrame({"size": SIZE, "word": RNG.choice(list("abcdefgh"), 120), "smoker": RNG.random(120) < 0.5})
FRAME["y"] = FRAME["size"].cat.codes * 1.5 + RNG.normal(size=120)
STATED = ["--encode", "size=ordered[levels=S<M<L<XL]"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ordered")
    (folder / "parts").mkdir()
    FRAME[:70].to_parquet(folder / "parts" / "a.parquet", row_group_size=20)
    FRAME[70:].to_parquet(folder / "parts" / "b.parquet")
    FRAME.to_feather(folder / "table.feather")
    FRAME.to_csv(folder / "table.csv", index=False)
    return {"parquet": folder / "parts", "arrow": folder / "table.feather", "csv": folder / "table.csv"}


def prepared(path, size, *encode):
    columns = ColumnOptions(target="y", encode=encode, gaps=("level",))
    options = DataOptions(shards="contiguous", coordinates="file", columns=columns)
    sets = spmd(size, lambda comm: prepare(str(path), "real", options, 0, comm))
    return sets[0], np.concatenate([table(s.shard) for s in sets])


@pytest.mark.parametrize("size", [1, 3])
def test_an_order_is_places_in_any_format_stated_or_of_the_file(files, size):
    places = np.where(SIZE.codes < 0, 0.0, SIZE.codes)
    stored = set()
    for form, path in files.items():
        encode = (
            "word=ordered[levels=a<b<c<d<e<f<g<h]",
            *(["size=ordered[levels=S<M<L<XL]"] if form == "csv" else []),
        )
        found, rows = prepared(path, size, "onehot", *encode)
        assert found.names == ["size", "size[(gap)]", "word", "smoker"]
        np.testing.assert_array_equal(rows[:, 0], places)
        np.testing.assert_array_equal(rows[:, 1], SIZE.codes < 0)
        np.testing.assert_array_equal(rows[:, 2], FRAME["word"].map(ord) - ord("a"))
        np.testing.assert_array_equal(rows[:, 3], FRAME["smoker"])
        stored.add(found.schema.text().replace(f'"{form}"', '""'))
    assert len(stored) == 1


def test_a_frame_of_pandas_or_arrow_has_its_order(files, tmp_path):
    x = FRAME[["size", "smoker"]]
    for frame in (x, pa.Table.from_pandas(x)):
        fit = mpiopt.fit(frame, FRAME["y"], columns={"gaps": "mean"}, l2=0.01, tol=1e-12)
        assert fit.names[0] == "size"
    out = tmp_path / "model.h5"
    words = ["--target", "y", "--columns", "size,smoker", "--gaps", "mean", "--l2", "0.01", "--tol", "1e-12"]
    assert mpiopt_on(2, "train", files["parquet"], *words, "--intercept", "--quiet", "--out", out) == {0}
    np.testing.assert_allclose(read_result(out).coef, fit.coef, rtol=1e-9)
    levels = mpiopt.fit(x, FRAME["y"], columns={"gaps": "level", "categorical": "size"}).names
    assert levels[:4] == ["size[L]", "size[M]", "size[S]", "size[(gap)]"]


def test_what_has_no_place_is_refused_by_name(files, tmp_path, capsys):
    model, other = tmp_path / "model.h5", tmp_path / "other.csv"
    words = ["train", files["csv"], "--target", "y", "--gaps", "level", "--out", model, "--quiet", "--overwrite"]
    assert command(*words, *STATED) == 0
    other.write_text("y,smoker,word,size\n1,True,a,S\n1,True,a,XXL\n")
    for asked, expected in (
        (
            ["predict", model, other],
            "other.csv, line 3, column 'size': found 'XXL', which is none of the levels S < M < L",
        ),
        (
            [*words, "--encode", "size=ordered[levels=M<L]"],
            f"line {np.flatnonzero(FRAME['size'] == 'S')[0] + 2}, column 'size': found 'S', which is none of",
        ),
        ([*words, "--encode", "ordered[levels=M<L]"], "is for columns that are named: size=ordered"),
        ([*words, "--encode", "size=ordered"], "ordered needs different levels with < between"),
        ([*words, "--encode", "size=ordered[levels=M<M]"], "ordered needs different levels with < between"),
        ([*words, "--encode", "smoker=ordered[levels=M<L]"], "holds boolean; an order is for words and numbers"),
    ):
        assert command(*asked) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert expected in line
    (tmp_path / "parts").mkdir()
    for name, order in (("a", ["S", "M"]), ("b", ["M", "S"])):
        part = pd.DataFrame({"size": pd.Categorical(["S", "M"], order, ordered=True), "y": [1.0, 2.0]})
        part.to_parquet(tmp_path / "parts" / f"{name}.parquet")
    assert command("train", tmp_path / "parts", "--target", "y", "--out", model, "--overwrite") == 2
    assert "the parts of column 'size' have their levels in different orders" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_levels_that_share_a_place_are_counted_on_any_number_of_ranks(size, files):
    found, _ = prepared(files["parquet"], size, "word=hash[bits=2]")
    column = next(c for c in found.schema.table["columns"] if c["title"] == "word")
    seed = murmurhash3_32("word", positive=True)
    places = pd.Series([murmurhash3_32(level, seed=seed, positive=True) % 4 for level in "abcdefgh"])
    assert column["levels_hashed"] == 8
    assert column["levels_shared"] == places.duplicated(keep=False).sum()


def test_too_many_levels_are_not_counted(monkeypatch):
    monkeypatch.setattr("mpiopt.data.tables.hashed_levels.MOST", 10)

    def work(comm):
        levels = HashedLevels()
        for _ in range(3):
            levels.add(np.arange(8 + 4 * comm.rank, dtype=np.uint64))
        return levels.counted(3, comm)

    assert {tuple(found) for found in spmd(2, work)} == {(-1, -1)}
