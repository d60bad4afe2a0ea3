"""Numbers that a type or a loss cannot hold are refused before the run, in one line that says where."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import mpiopt
from mpiopt.cli.main import run
from mpiopt.comm.threads import single, spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.convert import ConvertOptions, convert
from mpiopt.data.dataset import prepare
from mpiopt.resilience.signals import StopSignal

LARGEST = float(np.finfo(np.float32).max)
ROW, COLUMN = 7, 1


def points(value, at=(ROW, COLUMN)):
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[at] = value
    return x, np.arange(40.0) % 5 - 1.5


def csv(path, x, y):
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", fmt="%.17g")


def libsvm(path, x, y):
    lines = (
        f"{b!r} " + " ".join(f"{j + 1}:{v!r}" for j, v in enumerate(a))
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
    Path(path).write_text("\n".join(lines) + "\n")


def npy(path, x, y):
    np.save(path, np.column_stack([x, y]))


def npz(path, x, y):
    np.savez(path, X=x, y=y)


def hdf5(path, x, y):
    with h5py.File(path, "w") as file:
        file["X"], file["y"] = x, y


def hdf5_csr(path, x, y):
    n, d = x.shape
    with h5py.File(path, "w") as file:
        file["indptr"], file["indices"] = np.arange(n + 1) * d, np.tile(np.arange(d), n)
        file["data"], file["y"] = x.ravel(), y


WRITERS = {"f.csv": csv, "f.svm": libsvm, "f.npy": npy, "f.npz": npz, "f.h5": hdf5, "g.h5": hdf5_csr}


@pytest.fixture(autouse=True)
def quiet_numbers(tmp_path, monkeypatch):
    """An overflow that numpy reports is a fault, too."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def prepared(path, size=1, **options):
    return spmd(size, lambda c: prepare(path, "real", DataOptions(float32=True, **options), 1, c), timeout=60)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("value", [1e39, -1e39, 1e300, 3.5e38])
@pytest.mark.parametrize("name", WRITERS)
def test_a_value_beyond_float32(name, value, size):
    WRITERS[name](name, *points(value))
    place = rf"{name}, row 8, feature 2: found {value:g}; ".replace("+", r"\+")
    with pytest.raises(ValueError, match=place + r"float32 holds numbers up to 3\.4e\+38: leave out --float32, or"):
        prepared(name, size)
    with pytest.raises(ValueError, match=place):
        spmd(size, lambda c: convert(name, "out.h5", c, ConvertOptions(float32=True)), timeout=60)
    assert not Path("out.h5").exists()


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 3.4028235e38, 1e-60, 0.0])
@pytest.mark.parametrize("name", WRITERS)
def test_a_value_that_rounds_to_float32(name, value):
    WRITERS[name](name, *points(value))
    values = prepared(name, shards="contiguous", coordinates="file")[0].shard.rows.values
    assert np.isfinite(values).all()
    assert np.float32(value) in values


def test_a_test_file_beyond_float32():
    csv("train.csv", *points(1.0))
    csv("test.csv", *points(1e39))
    with pytest.raises(ValueError, match=r"test.csv, row 8, feature 2: found 1e\+39; float32 holds"):
        prepared("train.csv", test="test.csv")
    with pytest.raises(ValueError, match=r"test.csv, feature 2: found .* when scaled; float32 holds"):
        prepared("train.csv", 3, test="test.csv", scale="maxabs")


def test_scaling_makes_large_values_fit():
    csv("f.csv", *points(1e39))
    for scale in ("maxabs", "standard", "unit-rows"):
        assert np.isfinite(prepared("f.csv", scale=scale)[0].shard.rows.values).all()


def train(*words):
    return run(["train", *words, "--quiet", "--max-epochs", "20"], single(), StopSignal())


@pytest.mark.parametrize(
    ("loss", "label", "fits"),
    [
        ("squared", 1e100, True),
        ("squared", 1e160, False),
        ("squared", -1e308, False),
        ("huber", 1e300, True),
        ("poisson", 1e100, True),
        ("poisson", 1e160, False),
        ("poisson", 1e308, False),
    ],
)
def test_a_label_beyond_a_loss(capsys, loss, label, fits):
    x, y = points(1.0)
    y = np.abs(y)
    y[3] = label
    csv("f.csv", x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if fits else "error")
        code = train("f.csv", "--loss", loss)
        if not fits:
            with pytest.raises(ValueError, match=f"y: labels up to .* are too large for the {loss} loss"):
                mpiopt.fit(x, y, loss=loss)
    said = capsys.readouterr().err
    assert (code == 2) == (not fits)
    if not fits:
        assert said == (
            f"mpiopt: f.csv: labels up to {abs(label):g} are too large for the {loss} loss, whose sum is not finite; "
            "divide the labels by a constant\n"
        )


@pytest.mark.parametrize(("weight", "size"), [(1e308, "large"), (1e-320, "small")])
def test_weights_without_a_mean(weight, size):
    x, y = points(1.0)
    np.savez("f.npz", X=x, y=y, weight=np.full(40, weight))
    for ranks in (1, 3):
        with pytest.raises(
            ValueError, match=rf"f.npz: the weights are too {size}: the largest is .*; only their ratios"
        ):
            prepared("f.npz", ranks)
    with pytest.raises(
        ValueError, match=r"the sum of the sample weights is .*; divide them: only their ratios matter"
    ):
        mpiopt.fit(x, y, sample_weight=np.full(40, weight), loss="squared")


@pytest.mark.parametrize("loss", ["auto", "logistic", "softmax", "squared", "huber", "poisson"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_labels_that_are_not_finite(loss, wrong, capsys):
    x, y = points(1.0)
    y = (y > 0) * 1.0
    y[3] = wrong
    with pytest.raises(ValueError, match="y holds values that are not finite numbers"):
        mpiopt.fit(x, y, loss=loss)
    for name in ("f.npy", "f.npz", "f.h5", "g.h5"):
        WRITERS[name](name, x, y)
        assert train(name, "--loss", loss) == 2
        assert capsys.readouterr().err.startswith(
            f"mpiopt: {name}, row 4: label {wrong:g}; finite numbers are allowed"
        )
