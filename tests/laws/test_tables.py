"""A table is the same features on any number of ranks and in any format, and those that pandas makes."""

import numpy as np
import pytest
from sklearn.utils import murmurhash3_32

from mpiopt.comm.threads import spmd
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from tests.cases.tables import features, made, write
from tests.laws.test_prepare import SIZES, table

NEEDED = {"target": "claims", "drop": ("id", "years", "wins"), "categorical": ("zip",)}


@pytest.fixture(scope="module")
def frame():
    return made()


@pytest.fixture(scope="module")
def files(frame, tmp_path_factory):
    return write(frame, tmp_path_factory.mktemp("tables"))


def whole(path, size, options):
    options = DataOptions(shards="contiguous", coordinates="file", columns=ColumnOptions(**NEEDED | options))
    sets = spmd(size, lambda comm: prepare(path, "count", options, 0, comm, link="log"))
    return sets, np.concatenate([table(s.shard) for s in sets])


@pytest.mark.parametrize(
    ("options", "as_pandas"),
    [
        ({"gaps": ("level",)}, {}),
        ({"gaps": ("median",), "encode": ("city=onehot[least=9]", "zip=onehot")}, {"gaps": "median", "least": 9}),
        ({"gaps": ("age=mean", "city=level")}, {"gaps": "mean"}),
        ({"gaps": ("drop",), "encode": ("onehot[drop=first]",)}, {"gaps": "drop", "drop_first": True}),
    ],
)
def test_features_are_those_of_pandas_on_any_number_of_ranks_and_in_any_format(frame, files, options, as_pandas):
    expected = features(frame, **as_pandas)
    label = frame.loc[expected.index, "claims"]
    stored = set()
    for form, path in files.items():
        for size in SIZES if form != "arrow" else (1, 4):
            sets, rows = whole(path, size, options)
            assert sets[0].names == list(expected.columns)
            np.testing.assert_allclose(rows[:, :-2], expected.to_numpy(), rtol=1e-15)
            np.testing.assert_array_equal(rows[:, -2], label)
            stored |= {(s.schema.text().replace(f'"{form}"', '""'), s.checksum, rows.tobytes()) for s in sets}
    assert len(stored) == 1


def test_hashes_are_those_of_murmurhash(frame, files):
    options = {"gaps": ("level",), "encode": ("hash[bits=5]",), "columns": ("city",)}
    seed = murmurhash3_32("city", positive=True)
    cities = frame["city"]
    place = [32 if c != c or c is None else murmurhash3_32(c, seed=seed, positive=True) % 32 for c in cities]
    for size in (1, 3):
        sets, rows = whole(files["parquet"], size, options)
        assert sets[0].names[-2:] == ["city[#31]", "city[(gap)]"]
        np.testing.assert_array_equal(rows[:, :-2], np.eye(33)[place])


def test_an_exposure_is_a_weight_and_a_rate(frame, files):
    sets, rows = whole(files["csv"], 2, {"gaps": ("level",), "exposure": "years", "drop": ("id", "wins")})
    assert "years" not in sets[0].names
    np.testing.assert_array_equal(rows[:, -2], frame["claims"] / frame["years"])
    np.testing.assert_allclose(rows[:, -1], frame["years"] / frame["years"].mean(), rtol=1e-14)
