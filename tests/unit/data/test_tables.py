"""Tables of words, gaps and dates: what is refused, in one line, and what is said."""

import os

import h5py
import numpy as np
import pandas as pd
import pytest

from mpiopt.comm.threads import single, spmd
from mpiopt.core.config.columns import ColumnOptions, encoding, rule_of, split_names
from mpiopt.data.tables.exact_sum import ExactSum
from mpiopt.data.tables.files import joined, table_of
from mpiopt.data.tables.quantiles import quantiles
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt, mpiopt_on
from tests.cases.tables import made, write

LEAVE = ["--drop", "id,years,wins", "--gaps", "level", "--quiet"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(made(), tmp_path_factory.mktemp("tables"))


def refused(capsys, *words, size=2):
    """Return the one line with which `train` refuses."""
    assert mpiopt_on(size, "train", *words, "--out", "refused.h5") == {2}
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("mpiopt: ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "name the column of the target: --target; the columns are id, age, city"),
        (["--target", "claim"], "there is no column 'claim' (did you mean 'claims'?)"),
        (["--target", "claims", "--drop", "idd"], "--drop: there is no column 'idd'"),
        (["--target", "claims", "--drop", "x_*"], "--drop: there is no column 'x_*'"),
        (["--target", "claims", "--gaps", "ag=mean"], "--gaps: there is no column 'ag' (did you mean 'age'?)"),
        (["--target", "claims", "--weights", "city"], "--weights city holds words; numbers are needed"),
        (["--target", "claims", "--weights", "claims"], "column 'claims' is both --target and --weights"),
        (["--target", "claims"], "columns have gaps: age 35, city 23; choose --gaps level, drop, mean or median"),
        (
            ["--target", "city", "--drop", "age"],
            "--target city has 23 gaps; leave out these rows with --gaps city=drop",
        ),
        (["--target", "claims", "--gaps", "city=mean,level"], "column 'city' holds words, which have no mean"),
        (["--target", "claims", "--gaps", "level", "--max-levels", "3"], "column 'city' has more than 3 levels"),
        (["--target", "claims", "--numeric", "city", "--gaps", "level"], "column 'city': found"),
        (["--target", "wins", "--loss", "squared", "--gaps", "level"], "--target wins holds words (no, yes, …)"),
        (
            ["--target", "wins", "--exposure", "years", "--loss", "logistic"],
            "--exposure needs a loss with a logarithmic link: poisson, gamma, tweedie, negative-binomial",
        ),
        (["--target", "claims", "--exposure", "id", "--offset", "id"], "column 'id' is both"),
        (["--target", "claims", "--features", "3"], "--features is not for tables"),
    ],
)
def test_what_does_not_fit_is_one_line(files, capsys, words, expected):
    assert expected in refused(capsys, files["parquet"], *words)


def csv(folder, text, name="some.csv"):
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("a,y\n1,2\n3,4\nfive,6\n7,8\n", [], "line 4, column 'a': found 'five' among numbers; correct it"),
        ("a,y\n1,2\n3\n", [], "line 3: found 1 fields, where the table has 2 columns"),
        ("a,a,y\n1,2,3\n", [], "two columns are called 'a'"),
        ('a,y\n"1\n2",3\n4,5\n', [], "quotes"),
        ('a,y\n"1,234",3\n5,6\n7,8\n', [], "write a decimal point, and no separators of thousands"),
        (
            "a,y\nu,1\n#v,2\nw,3\n",
            [],
            "line 3: begins with #, the mark of a comment, but has the separators of a row",
        ),
        ("a\ty\nu\t1\n\t\nw\t3\n", [], "line 3: is blank but has the separators of a row"),
        ("a,y\n1,\n2,3\n", [], "--target y has 1 gap; leave out"),
        ("a,y\n1,w\n2,w\n", [], "--target y is 'w' in all rows"),
        ("a,y\n1,2\n", ["--drop", "a"], "no column is left for the features"),
        ("a,y\n", [], "has no rows"),
        ("1,2\n3,4\n", ["--titles", "a,b,y"], "has 2 columns; --titles names 3"),
        ('a,y\n1,v\n2,w\n3,"v\n', [], 'line 4: found "v: the quotes are not closed in this line'),
        ('a,y\n1,v\n2,w\n3,"v"w\n', [], 'line 4: found "v"w: there is text after the closing quote'),
        ('a,y\n"1,v\n2",w\n3,v\n', [], 'line 2: found "1,v: the quotes are not closed'),
        ("a,y\n1,2\n3,4\n", ["--drop", "y"], "column 'y' is both --target and --drop; choose one"),
        ("g,a,y\n,1,2\n,3,4\n", ["--columns", "g,a"], "column 'g' has gaps alone; leave it out"),
        (
            "a,e,y\n1,2,3\n3,-1,4\n",
            ["--exposure", "e", "--loss", "poisson"],
            "line 3, column 'e': the exposure is -1; it must be above 0",
        ),
        ("a,w,y\n1,2,3\n3,-1,4\n", ["--weights", "w"], "line 3, column 'w': the weight is -1; it must be at least 0"),
        ("a,o,y\n1,2,3\n3,800,4\n", ["--offset", "o", "--loss", "poisson"], "row 2: offset 800; exp(offset)"),
        ("a,y\n1,u\n2,v\n3,w\n", ["--loss", "logistic"], "3 distinct labels ('u', 'v', 'w') do not fit"),
    ],
)
def test_a_wrong_text_is_one_line(tmp_path, capsys, text, words, expected):
    line = refused(capsys, csv(tmp_path, text), "--target", "y", "--gaps", "a=level", *words)
    assert expected in line


def test_columns_are_named_of_tables_alone(tmp_path, capsys):
    rows = csv(tmp_path, "1 1:1\n-1 2:1\n", "rows.svm")
    for path, message in (
        (rows, "its name is not that of a table"),
        ("generate:n=9,d=2", "made-up rows are no table"),
    ):
        assert message in refused(capsys, path, "--target", "y")


def test_part_files_must_fit(tmp_path, capsys):
    frame = pd.DataFrame({"a": [1.0, 2.0], "y": [0, 1]})
    for other, expected in (
        (frame.rename(columns={"a": "A1"}), "there is no column 'a'"),
        (frame.assign(a=["u", "v"]), "column 'a' holds text, in"),
        (frame.assign(a=[[1], [2]]), "has the type list<"),
    ):
        frame.to_parquet(tmp_path / "1.parquet")
        other.to_parquet(tmp_path / "2.parquet")
        assert expected in refused(capsys, tmp_path, "--target", "y")
    (tmp_path / "2.parquet").write_bytes(b"PAR1 no more")
    assert "2.parquet: is not a whole parquet file" in refused(capsys, tmp_path, "--target", "y")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is a folder without files" in refused(capsys, empty, "--target", "y")
    assert "no file has such a name" in refused(capsys, f"{tmp_path}/q*.parquet", "--target", "y")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, capsys, monkeypatch):
    from mpiopt.data.tables import survey

    path = csv(tmp_path, "a,y\n1,2\n3,4\n")
    merge = survey._merge
    monkeypatch.setattr(survey, "_merge", lambda *a: (merge(*a), os.utime(path, (1, 1)))[0])
    assert "has changed while it was read" in refused(capsys, path, "--target", "y")


def test_a_model_finds_its_columns_in_any_order_and_names_unseen_levels(files, capsys, tmp_path):
    model, out = tmp_path / "model.h5", tmp_path / "margins.txt"
    assert mpiopt("train", files["parquet"], "--target", "wins", "--drop", "id,claims,years", "--gaps", "level",
                  "--intercept", "--out", model, "--quiet") == 0  # fmt: skip
    frame = made().sample(frac=1, axis=1, random_state=1)
    frame.to_csv(tmp_path / "same.csv", index=False)
    answers = []
    for name, path in {"same": tmp_path / "same.csv", **files}.items():
        assert mpiopt_on(3, "predict", model, path, "--kind", "margin", "--out", out, "--overwrite") == {0}, name
        answers.append(np.loadtxt(out))
        assert np.array_equal(answers[0], answers[-1])
    frame.loc[3, "city"] = "Atlantis"
    frame.drop(columns="wins").to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    assert mpiopt("predict", model, tmp_path / "new.csv") == 0
    said = capsys.readouterr().out
    assert "column 'city' has levels that the training had not: 'Atlantis' (1 rows); they count as no level" in said
    assert "column 'age' has 35 gaps; filled with 0" in said
    assert mpiopt("inspect", model, "--coefficients", "3") == 0
    shown = capsys.readouterr().out
    assert "coefficients, 3 of 12" in shown
    assert "city[" in shown
    frame.drop(columns="city").to_csv(tmp_path / "less.csv", index=False)
    assert mpiopt("predict", model, tmp_path / "less.csv") == 2
    assert "there is no column 'city'" in capsys.readouterr().err


def test_unseen_levels_and_gaps_are_refused_as_the_model_says(tmp_path, capsys):
    train = csv(tmp_path, "a,b,y\nu,1,1\nv,2,2\nu,3,2\n", "train.csv")
    assert mpiopt("train", train, "--target", "y", "--unseen", "refuse", "--out", tmp_path / "m.h5", "--quiet") == 0
    assert mpiopt("predict", tmp_path / "m.h5", csv(tmp_path, "b,a\n1,w\n")) == 2
    assert "levels that the training had not: 'w' (1 rows); the model refuses them" in capsys.readouterr().err
    assert mpiopt("predict", tmp_path / "m.h5", csv(tmp_path, "b,a\n,u\n")) == 2
    assert "columns have gaps: b 1; the model was trained without" in capsys.readouterr().err


@pytest.mark.parametrize("rule", ["level", "mean", "median"])
def test_a_gap_in_a_column_of_numbers_that_had_none_is_filled_or_refused(tmp_path, capsys, rule):
    """With `level` a gap would be the number 0, which means something else where the training had no gap."""
    train, model = csv(tmp_path, "a,b,y\nu,1,1\nv,2,2\nu,3,2\n", "train.csv"), tmp_path / "m.h5"
    assert mpiopt("train", train, "--target", "y", "--gaps", rule, "--out", model, "--quiet") == 0
    capsys.readouterr()
    assert mpiopt("predict", model, csv(tmp_path, "b,a\n,u\n")) == (2 if rule == "level" else 0)
    printed = capsys.readouterr()
    assert "columns have gaps: b 1" in printed.err or "column 'b' has 1 gap; filled with 2" in printed.out
    assert mpiopt("predict", model, csv(tmp_path, "b,a\n1,\n")) == 0
    assert "column 'a' has 1 gap; the training had none, so that they count as no level" in capsys.readouterr().out


def test_a_gap_counts_as_a_new_level_where_those_are_refused(tmp_path, capsys):
    train, model = csv(tmp_path, "a,b,y\nu,1,1\nv,2,2\nu,3,2\n", "train.csv"), tmp_path / "m.h5"
    words = ["--gaps", "level", "--unseen", "refuse"]
    assert mpiopt("train", train, "--target", "y", *words, "--out", model, "--quiet") == 0
    assert mpiopt("predict", model, csv(tmp_path, "b,a\n1,\n")) == 2
    assert "columns have gaps: a 1" in capsys.readouterr().err


def test_dates_are_shown_as_dates(tmp_path, capsys):
    path = csv(tmp_path, "d,x,g,y\n2020-01-01,1,,2\n2020-05-01,3,,3\n,4,,1\n")
    assert mpiopt("train", path, "--target", "y", "--gaps", "mean", "--out", tmp_path / "m.h5") == 0
    shown = capsys.readouterr().out
    assert "1 -> 2020-03-01T12:00" in shown
    assert "2020-01-01 to 2020-05-01" in shown
    assert "columns left out: g (gaps alone)" in shown
    assert mpiopt("describe", path) == 0
    shown = capsys.readouterr().out
    assert "2020-03-01" in shown
    assert "days" in shown


def test_an_unusable_exposure_or_offset_of_a_new_file_is_one_line(tmp_path, capsys):
    """A warning of numpy is an error in these tests."""
    train, model = csv(tmp_path, "a,e,o,y\n1,2,0.1,1\n2,1,0.2,2\n5,3,0.3,2\n", "train.csv"), tmp_path / "m.h5"
    words = ["--loss", "poisson", "--exposure", "e", "--offset", "o", "--out", model, "--quiet"]
    assert mpiopt("train", train, "--target", "y", *words) == 0
    for row, message in (
        ("1,-1,0,2", "some.csv, line 2, column 'e': the exposure is -1; it must be above 0"),
        ("1,,0,2", "some.csv: exposure: column 'e' has gaps in 1 rows"),
        ("1,1,-800,2", "some.csv, row 1: offset -800; exp(offset)"),
    ):
        assert mpiopt_on(2, "predict", model, csv(tmp_path, f"a,e,o,y\n{row}\n")) == {2}
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_quotes_that_csv_allows_are_read(tmp_path):
    """Doubled quotes, separators in quotes, carriage returns, and quotes in the middle of a field."""
    rows = ['1,"v, ""w"""', '2,5" pipe', '"3",5" pipe', '4,"v, ""w"""']
    path = csv(tmp_path, "a,y\n" + "\r\n".join(rows) + "\r\n")
    assert mpiopt("train", path, "--target", "y", "--out", tmp_path / "m.h5", "--quiet") == 0
    assert read_result(tmp_path / "m.h5").model.classes.tolist() == ['5" pipe', 'v, "w"']


def test_a_file_without_rows_has_no_predictions(tmp_path, capsys):
    train, model = csv(tmp_path, "a,y\nu,1\nv,2\n", "train.csv"), tmp_path / "m.h5"
    assert mpiopt("train", train, "--target", "y", "--out", model, "--quiet") == 0
    assert mpiopt("predict", model, csv(tmp_path, "a,y\n"), "--out", tmp_path / "out.txt") == 2
    assert "some.csv: has no rows" in capsys.readouterr().err
    assert not (tmp_path / "out.txt").exists()


def test_rows_of_one_class_have_no_auc(tmp_path, capsys):
    train, model = csv(tmp_path, "a,y\n1,u\n2,v\n3,u\n", "train.csv"), tmp_path / "m.h5"
    assert mpiopt("train", train, "--target", "y", "--out", model, "--quiet") == 0
    assert mpiopt("predict", model, csv(tmp_path, "a,y\n1,u\n2,u\n")) == 0
    assert "no AUC (one class)" in capsys.readouterr().out


def test_an_exposure_enters_predictions(files, tmp_path, capsys):
    model, out = tmp_path / "model.h5", tmp_path / "out.txt"
    assert mpiopt("train", files["csv"], "--target", "claims", "--exposure", "years", "--columns", "city,smoker",
                  "--gaps", "level", "--out", model, "--quiet") == 0  # fmt: skip
    assert mpiopt("predict", model, files["csv"], "--out", out) == 0
    expected = np.loadtxt(out)
    made().drop(columns="years").to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    assert mpiopt("predict", model, tmp_path / "new.csv", "--out", out, "--overwrite") == 0
    assert "there is no column years; predictions are for an exposure of 1" in capsys.readouterr().out
    np.testing.assert_allclose(expected, np.loadtxt(out) * made()["years"], rtol=1e-14)


def test_names_and_rules_are_read():
    assert split_names("a, b=hash[bits=3,x=1],c") == ("a", "b=hash[bits=3,x=1]", "c")
    rules = ("level", "bill_*=mean", "bill_2=median")
    assert [rule_of(rules, title) for title in ("a", "bill_1", "bill_2")] == ["level", "mean", "median"]
    assert encoding("hash[bits=3]").options == {"bits": 3}
    for wrong in ("one-hot", "hash[bits=40]", "onehot[bits=3]", "onehot[drop=last]"):
        with pytest.raises(ValueError, match="encode"):
            encoding(wrong)
    with pytest.raises(ValueError, match="gaps must be"):
        ColumnOptions(gaps=("fill",))


def test_files_are_in_the_order_of_their_names(tmp_path):
    for name in ("b.csv", "a.csv", "c.csv.gz", ".d.csv", "_e.csv", "f.txt"):
        (tmp_path / name).write_text("x\n")
    names = [os.path.basename(path) for path in table_of(str(tmp_path)).paths]
    assert names == ["a.csv", "b.csv", "c.csv.gz"]
    given = [str(tmp_path / "b.csv"), str(tmp_path / "a.csv")]
    assert list(table_of(joined(given)).paths) == given
    with pytest.raises(ValueError, match="is given twice"):
        table_of(joined([*given, given[0]]))


def test_sums_and_quantiles_are_exact():
    rng = np.random.default_rng(0)
    x = rng.normal(size=301) * 10.0 ** rng.integers(-200, 200, 301)
    x[0] = 0.0
    import math

    for size in (1, 3):
        parts = np.array_split(x, size)

        def work(comm, parts=parts):
            total = ExactSum()
            total.add(parts[comm.rank])
            found = quantiles([parts[comm.rank], np.empty(0)], [0.0, 0.25, 0.5, 1.0], comm)
            return float(total.over_ranks(comm)), found

        for total, found in spmd(size, work):
            assert total == math.fsum(x)
            np.testing.assert_allclose(found[0], np.quantile(x, [0.0, 0.25, 0.5, 1.0]), rtol=1e-12)
            assert np.isnan(found[1]).all()
    assert single().size == 1


def test_a_converted_table_is_trained_on_and_applied_as_the_table(files, tmp_path, capsys):
    out, made_of = tmp_path / "made.h5", ["--target", "wins", "--drop", "id,claims,years", "--gaps", "level"]
    assert mpiopt_on(2, "convert", files["parquet"], out, *made_of) == {0}
    assert mpiopt("train", out, "--out", tmp_path / "of_made.h5", "--quiet") == 0
    assert mpiopt("train", files["parquet"], *made_of, "--out", tmp_path / "of_table.h5", "--quiet") == 0
    answers = []
    for model in ("of_made", "of_table"):
        for data in (out, files["csv"]):
            answer = tmp_path / "answers.txt"
            words = ["predict", tmp_path / f"{model}.h5", data, "--out", answer, "--overwrite"]
            assert mpiopt(*words) == 0
            answers.append(answer.read_text())
            assert "accuracy" in capsys.readouterr().out
    assert set(answers[0].split()) == {"no", "yes"}
    assert len({*answers}) == 1


def test_a_converted_table_keeps_offsets_and_exposures_for_any_loss(files, tmp_path, capsys):
    """A fit and its checksum are to the last bit those of the table, its predictions to rounding."""
    kept, answer = tmp_path / "kept.h5", tmp_path / "answers.txt"
    shares, every = ["--target", "claims", "--exposure", "years"], ["--columns", "smoker,age", "--gaps", "age=level"]
    asked = [
        ("poisson", "dense", [*shares, "--offset", "zip"]),
        ("squared", "csr", ["--target", "claims", "--offset", "years", "--weights", "zip"]),
        ("negative-binomial[theta=2.0]", "dense", [*shares, "--weights", "zip"]),
    ]
    for loss, form, words in asked:
        trained = ["--loss", loss, "--l2", "0.01", "--intercept", "--quiet", "--overwrite", "--out"]
        made_of = [*words, *every]
        assert mpiopt_on(3, "convert", files["parquet"], kept, *made_of, "--form", form, "--overwrite") == {0}
        assert mpiopt_on(2, "train", files["csv"], *made_of, *trained, tmp_path / "of_table.h5") == {0}
        assert mpiopt_on(2, "train", kept, *trained, tmp_path / "of_kept.h5") == {0}
        of_table, of_kept = (read_result(tmp_path / f"{name}.h5") for name in ("of_table", "of_kept"))
        assert of_table.provenance["data_checksum"] == of_kept.provenance["data_checksum"]
        np.testing.assert_array_equal(of_table.coef, of_kept.coef)
        answers = []
        for model, data in (("of_kept", files["csv"]), ("of_kept", kept), ("of_table", kept)):
            words = ["predict", tmp_path / f"{model}.h5", data, "--kind", "margin", "--out", answer, "--overwrite"]
            assert mpiopt(*words) == 0
            answers.append(np.loadtxt(answer))
        np.testing.assert_allclose(answers[1:], [answers[0]] * 2, rtol=1e-12, atol=1e-14)
    capsys.readouterr()
    assert "--exposure needs a loss with a logarithmic link" in refused(capsys, kept, "--loss", "squared")
    with h5py.File(kept, "r+") as file:
        file["exposure"][3] += 0.5
    assert mpiopt("train", kept, "--loss", "poisson", "--out", tmp_path / "damaged.h5") == 2
    assert "is damaged" in capsys.readouterr().err


def test_an_offset_shifts_the_target_of_the_squared_loss(files, tmp_path):
    with_offset, plain, out = tmp_path / "offset.h5", tmp_path / "plain.h5", tmp_path / "out.txt"
    shifted = made()
    shifted["claims"] = shifted["claims"] - shifted["years"]
    shifted.to_csv(tmp_path / "shifted.csv", index=False)
    words = ["--target", "claims", "--columns", "smoker,zip", "--loss", "squared", "--tol", "1e-10", "--quiet"]
    assert mpiopt("train", files["csv"], *words, "--offset", "years", "--out", with_offset) == 0
    assert mpiopt("train", tmp_path / "shifted.csv", *words, "--out", plain) == 0
    coef = [read_result(path).coef for path in (with_offset, plain)]
    np.testing.assert_allclose(coef[0], coef[1], rtol=1e-6)
    answers = []
    for model in (with_offset, plain):
        assert mpiopt("predict", model, files["csv"], "--out", out, "--overwrite", "--quiet") == 0
        answers.append(np.loadtxt(out))
    np.testing.assert_allclose(answers[0], answers[1] + made()["years"], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3])
def test_an_offset_in_the_margin_enters_training_tests_metrics_paths_and_predictions(files, size, tmp_path, capsys):
    """Each figure of the commands is that of scikit-learn's and scipy's functions at the margins with the offset."""
    model, out, oof = tmp_path / "model.h5", tmp_path / "out.txt", tmp_path / "oof.txt"
    words = ["--target", "wins", "--columns", "smoker,zip", "--offset", "years", "--loss", "logistic", "--intercept"]
    asked = ["--test", files["parquet"], "--l2", "0.01", "--tol", "1e-12", "--quiet"]
    assert mpiopt_on(size, "train", files["csv"], *words, *asked, "--out", model) == {0}
    assert mpiopt_on(size, "predict", model, files["csv"], "--kind", "margin", "--out", out) == {0}
    said, x = capsys.readouterr().out, made()[["smoker", "zip"]].to_numpy(float)
    y, o, found = np.where(made()["wins"] == "yes", 1.0, -1.0), made()["years"].to_numpy(), read_result(model)
    np.testing.assert_allclose(np.loadtxt(out), z := x @ found.coef[0] + found.intercept[0] + o, rtol=1e-12)
    assert f"log loss {np.logaddexp(0.0, -y * z).mean():.6g}" in said
    assert found.test["log loss"] == pytest.approx(np.logaddexp(0.0, -y * z).mean(), rel=1e-10)
    slope = -y / (1.0 + np.exp(y * z)) / len(y)
    np.testing.assert_allclose([*(slope @ x + 0.01 * found.coef[0]), slope.sum()], 0.0, atol=1e-6)
    assert mpiopt_on(size, "path", files["csv"], *words, "--points", "5", "--folds", "3", "--oof", oof, "--quiet",
                     "--tol", "1e-8", "--choose", "best", "--out", tmp_path / "path.h5",
                     "--score", "log loss") == {0}  # fmt: skip
    chances, scores = np.loadtxt(oof), read_result(tmp_path / "path.h5").path.scores
    assert -np.log(np.where(y > 0, chances[:, 1], chances[:, 0])).mean() == pytest.approx(
        scores.mean(1).min(), rel=1e-3
    )
    assert mpiopt("predict", model, write_without(tmp_path, "years"), "--out", out, "--overwrite") == 0
    assert "there is no column years" in capsys.readouterr().out


def test_predictions_out_of_fold_have_the_exposure(files, tmp_path):
    """The score of the folds is their mean deviance from the claims, although rates are what is fitted."""
    oof, kept, words = tmp_path / "oof.txt", tmp_path / "kept.h5", ["--target", "claims", "--exposure", "years"]
    words += ["--columns", "smoker,zip"]
    assert mpiopt_on(2, "convert", files["csv"], kept, *words) == {0}
    y, years = made()["claims"].to_numpy(float), made()["years"].to_numpy()
    for data, given in ((files["parquet"], words), (kept, [])):
        asked = ["--loss", "poisson", "--points", "3", "--folds", "3", "--oof", oof, "--quiet", "--intercept"]
        out = ["--choose", "best", "--out", tmp_path / "path.h5", "--overwrite"]
        assert mpiopt_on(2, "path", data, *given, *asked, *out) == {0}
        mean, table = np.loadtxt(oof), read_result(tmp_path / "path.h5").path
        deviances = 2.0 * (y * np.log(np.where(y > 0, y / mean, 1.0)) - y + mean)
        assert deviances.sum() / years.sum() == pytest.approx((table.scores @ table.share).min(), rel=1e-8)


def write_without(folder, title):
    made().drop(columns=title).to_csv(folder / "without.csv", index=False)
    return folder / "without.csv"


def test_a_table_is_described_the_same_on_any_number_of_ranks(files, capsys):
    found = set()
    for form in ("csv", "parquet"):
        for size in (1, 2, 3):
            assert mpiopt_on(size, "describe", files[form], "--categorical", "zip", "--max-levels", "5") == {0}
            found.add(capsys.readouterr().out.replace(files[form], "DATA"))
    (text,) = found
    rows = {line.split()[0]: line.split() for line in text.splitlines()[1:]}
    age = made()["age"]
    expected = [age.mean(), age.std(ddof=0), *age.quantile([0.05, 0.5, 0.95])]
    np.testing.assert_allclose([float(x) for x in rows["age"][-5:]], expected, rtol=1e-4)
    assert rows["city"][-3:] == ["more", "than", "5"]
    assert "240 rows, 9 columns" in text


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie[power=1.5]"])
def test_an_exposure_is_the_offset_of_glum(loss, tmp_path):
    glum = pytest.importorskip("glum")
    frame = made()
    frame["claims"] = frame["claims"] + 0.5 * (loss == "gamma")
    x = frame[["smoker", "zip"]].astype(float)
    frame.to_csv(tmp_path / "table.csv", index=False)
    words = ["--target", "claims", "--exposure", "years", "--columns", "smoker,zip", "--loss", loss, "--l2", "0"]
    words += ["--intercept", "--tol", "1e-12", "--quiet", "--out", tmp_path / "model.h5"]
    assert mpiopt("train", tmp_path / "table.csv", *words) == 0
    power = {"poisson": 1, "gamma": 2}.get(loss, 1.5)
    family = glum.TweedieDistribution(power)
    other = glum.GeneralizedLinearRegressor(family=family, link="log", alpha=0, gradient_tol=1e-10, max_iter=500)
    other.fit(x, frame["claims"], offset=np.log(frame["years"]))
    model = read_result(tmp_path / "model.h5").model
    np.testing.assert_allclose([*model.coef[0], model.intercept[0]], [*other.coef_, other.intercept_], rtol=1e-5)


def test_a_class_that_the_training_had_not_is_named(tmp_path, capsys):
    train = csv(tmp_path, "a,y\nu,yes\nv,no\nu,no\n", "train.csv")
    assert mpiopt("train", train, "--target", "y", "--out", tmp_path / "m.h5", "--quiet") == 0
    assert mpiopt("predict", tmp_path / "m.h5", csv(tmp_path, "a,y\nu,yes\nv,no.\n")) == 0
    said = capsys.readouterr().out
    assert "column 'y' has classes that the training had not: 'no.' (1 rows); nothing is measured" in said
