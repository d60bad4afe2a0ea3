"""The schema of a data set, and the columns of another file that it finds."""

import json

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.data.formats.columns import columns_like
from mpiopt.data.matching import moved_sparse, open_like, source_columns
from mpiopt.data.schema import Place, Schema, read_schema
from mpiopt.data.shard import CsrRows
from mpiopt.data.tables.column import Column, from_tree, to_tree

TITLED = Schema(
    "csv", {"label": "y"}, label=Place("y", 2), weight=Place("w", 4), columns=5, names=("a", "b", "c"), features=3
)
PLAIN = Schema("csv", label=Place("", 1), columns=4, features=3)
ARRAYS = Schema("npy", label=Place("y"), features=3)


def test_a_schema_is_its_text():
    assert read_schema(TITLED.text(), TITLED.names) == TITLED
    assert read_schema(ARRAYS.text(), None) == ARRAYS
    later = TITLED.text().replace("{", '{"unknown": 1, ', 1)
    assert read_schema(later, TITLED.names) == TITLED


AGE = Column("age", "number", encode="spline[knots=3]", knots=(1.0, 2.0, 4.0), interactions=(("age", "city"),))
CITY = Column("city", "text", encode="onehot", levels=("a", "b"))


def test_columns_are_their_tree():
    tree = json.loads(json.dumps(to_tree([AGE, CITY])))
    assert from_tree([one | {"later": 1} for one in tree]) == (AGE, CITY)


@pytest.mark.parametrize(
    "change",
    [
        *({"knots": knots} for knots in ([], [1.0], [4.0, 2.0, 1.0], [1.0, 1.0, 2.0], [1.0, np.nan], ["a"], None, 5)),
        *({"encode": rule} for rule in ("spline[knots=x]", "spline[degree=99]", "onehot", 5)),
        *({"interactions": crossed} for crossed in ([["age", "zip"]], [["age", "age"]], [["age"]], "age:city", 5)),
        {"interactions": [["city", "age"]]},
        *({"kind": kind} for kind in ("text", "blob")),
        {"role": "x"},
        {"role": "target"},
        {"title": 5},
        {"title": "city"},
        {"levels": 5},
        {"fill": "x"},
        {"low": np.inf},
    ],
)
def test_columns_that_no_model_has_are_refused(change):
    age, city = json.loads(json.dumps(to_tree([AGE, CITY])))
    with pytest.raises(ValueError, match="the columns that the model keeps are damaged: ") as found:
        from_tree([age | change, city])
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("schema", "names", "found"),
    [
        (TITLED, ["a", "y", "b", "w", "c"], ("y", "w")),
        (TITLED, ["w", "c", "a", "x", "b", "y"], ("y", "w")),
        (TITLED, ["a", "b", "c"], ("none", "none")),
        (TITLED, 5, ("2", "4")),
        (TITLED, 4, ("2", "none")),
        (TITLED, 3, ("none", "none")),
        (PLAIN, 4, ("1", "none")),
        (PLAIN, 3, ("none", "none")),
        (PLAIN, ["p", "q", "r", "s"], ("p", "none")),
        (PLAIN, ["last", "q", "r", "s"], ("1", "none")),  # a title that is a word of the option
        (PLAIN, ["0", "1", "2", "3"], ("0", "none")),  # a title that looks like a number of another column
        (ARRAYS, 4, ("4", "none")),
        (ARRAYS, 3, ("none", "none")),
        (ARRAYS, ["p", "y", "q", "r"], ("y", "none")),
    ],
)
def test_label_and_weight_are_found_by_title_or_by_place(schema, names, found):
    count, titles = (names, None) if isinstance(names, int) else (len(names), names)
    assert columns_like("f", count, titles, schema, ()) == dict(zip(("label", "weight"), found, strict=True))


@pytest.mark.parametrize(("schema", "count"), [(TITLED, 6), (TITLED, 2), (PLAIN, 5), (PLAIN, 2), (ARRAYS, 5)])
def test_another_number_of_columns_without_titles_is_refused(schema, count):
    with pytest.raises(
        ValueError, match=f"f: has {count} columns without titles; the model has 3 features and label"
    ):
        columns_like("f", count, None, schema, ())


def test_what_the_user_sets_stays():
    assert columns_like("f", 4, None, TITLED, {"label"}) == {"weight": "none"}
    assert columns_like("f", 9, None, TITLED, {"label", "weight"}) == {}


def test_entries_of_sparse_rows_move_to_their_places():
    dense = np.where(np.random.default_rng(0).random((6, 5)) < 0.5, np.arange(1.0, 31.0).reshape(6, 5), 0.0)
    dense[2] = 0.0
    indptr = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])
    rows = CsrRows(indptr, np.nonzero(dense)[1].astype(np.int32), dense[dense != 0], 5)
    places = np.array([2, -1, 0, -1, 1])
    moved = moved_sparse(rows, places, 3)
    back = np.zeros((6, 3))
    for i in range(6):
        here = slice(moved.indptr[i], moved.indptr[i + 1])
        assert (np.diff(moved.indices[here]) > 0).all()
        back[i, moved.indices[here]] = moved.values[here]
    np.testing.assert_array_equal(back, dense[:, source_columns(places)])
    assert source_columns(places).tolist() == [2, 4, 0]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,y,bb,c\n1,2,3,4\n", r"f.csv: there is no column 'b' \(did you mean 'bb'\?\); the model needs it$"),
        ("y,c\n1,2\n", r"f.csv: there are no columns 'a', 'b'; the model needs them$"),
        ("a,b,b,c,y\n1,2,3,4,5\n", r"f.csv: two columns are called 'b'; the features cannot be matched by title$"),
    ],
)
def test_features_that_cannot_be_matched_are_refused_by_name_on_all_ranks(tmp_path, text, words, size):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        spmd(size, lambda comm: open_like(str(tmp_path / "f.csv"), "auto", TITLED, comm))
