"""Cells in other spellings: decimal commas, dates as text, names of rows, empty words."""

import numpy as np
import pandas as pd
import pytest

from mpiopt.data.tables.cells import as_day
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt_on

ROWS = 60


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(6)
    x, when = rng.normal(size=ROWS).round(3), pd.date_range("2024-01-01", periods=ROWS, freq="5h")
    return pd.DataFrame({"x": x, "n": rng.integers(0, 9, ROWS), "when": when.astype(str), "y": (2 * x + 1).round(3)})


def coefficients(path, *words, size=2):
    assert mpiopt_on(size, "train", path, "--target", "y", "--overwrite", *words) == {0}
    found = read_result("cells.h5")
    return tuple(found.schema.names), found.coef


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_where_they_make_numbers_of_words(table, tmp_path, monkeypatch, separator):
    monkeypatch.chdir(tmp_path)
    table.to_csv("plain.csv", index=False)
    table.to_csv("commas.csv", index=False, sep=separator, decimal=",")
    names, coef = coefficients("plain.csv", "--out", "cells.h5")
    assert names == ("x", "n", "when")
    for size in (1, 2, 3):
        others = coefficients("commas.csv", "--out", "cells.h5", size=size)
        assert others[0] == names
        np.testing.assert_allclose(others[1], coef, rtol=1e-9)


def test_a_decimal_point_beside_decimal_commas_leaves_the_commas_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [f"{k},5;{k}.5;{k}" for k in range(9)]
    (tmp_path / "mixed.csv").write_text("\n".join(["a;b;y", *lines]) + "\n")
    names, _ = coefficients("mixed.csv", "--out", "cells.h5")
    assert names == (*(f"a[{k},5]" for k in range(9)), "b")
    assert mpiopt_on(2, "train", "mixed.csv", "--target", "y", "--numeric", "a", "--out", "b.h5") == {2}
    assert "column 'a': found '0,5' among numbers" in capsys.readouterr().err


def test_dates_as_text_are_told_and_read_on_demand(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table.to_parquet("table.parquet")
    table.to_csv("table.csv", index=False)
    coefficients("table.parquet", "--out", "cells.h5")
    assert "column 'when' has 60 levels in 60 rows; if it names or dates the rows" in capsys.readouterr().out
    days = coefficients("table.parquet", "--numeric", "when", "--out", "cells.h5")
    dates = coefficients("table.csv", "--out", "cells.h5")
    assert days[0] == dates[0] == ("x", "n", "when")
    np.testing.assert_allclose(days[1], dates[1], rtol=1e-12)
    assert mpiopt_on(2, "predict", "cells.h5", "table.parquet", "--out", "answers.txt") == {0}  # text for its dates


def test_a_date_is_a_day():
    assert as_day("1970-01-02") == 1.0
    assert as_day("1970-01-02 12:00") == as_day("1970-01-02T12:00:00.0") == 1.5
    assert [as_day(text) for text in ("1970-02-30", "2024", "now", "1970-1-2", "1970-01-02Z")] == [None] * 5


def test_an_empty_word_that_the_training_had_not_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    town = ["a", "b"] * 10
    pd.DataFrame({"town": town, "y": range(20)}).to_parquet("train.parquet")
    pd.DataFrame({"town": ["", *town[1:]], "y": range(20)}).to_parquet("new.parquet")
    coefficients("train.parquet", "--out", "cells.h5")
    assert mpiopt_on(2, "predict", "cells.h5", "new.parquet", "--out", "answers.txt") == {0}
    assert "column 'town' has levels that the training had not: '' (1 rows)" in capsys.readouterr().out
