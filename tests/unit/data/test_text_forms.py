"""Text as spreadsheets write it: byte-order marks, quotes, trailing separators, line ends, commas in numbers."""

import gzip

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.formats.base import open_source

BOM = b"\xef\xbb\xbf"
POINTS = [[1.0, 7.0, 3.0], [4.0, -5.0, 6.5]]


def rows(path, size, form="auto"):
    """Return the rows of a file as they stand there, with the label last, and the names."""

    def read(comm):
        source = open_source(str(path), form, None, comm)
        pieces = list(source.pieces())
        dense = [p.rows if isinstance(p.rows, np.ndarray) else spread(p.rows) for p in pieces]
        return [np.column_stack([d, p.label]) for d, p in zip(dense, pieces, strict=True)], source.names

    found = spmd(size, read)
    return np.concatenate([part for pieces, _ in found for part in pieces]).tolist(), found[0][1]


def spread(rows):
    out = np.zeros((len(rows), 2))
    for i in range(len(rows)):
        at = slice(rows.indptr[i], rows.indptr[i + 1])
        out[i, rows.indices[at]] = rows.values[at]
    return out


READ = {
    "mark": (BOM + b"1,7,3\n4,-5,6.5\n", None),
    "mark and titles": (BOM + b"a,b,y\n1,7,3\n4,-5,6.5\n", ["a", "b"]),
    "mark and quoted titles": (BOM + b'"a","b","y"\n1,7,3\n4,-5,6.5\n', ["a", "b"]),
    "mark and comment": (BOM + b"# c\n1,7,3\n4,-5,6.5\n", None),
    "quoted": (b'"1","7","3"\n"4","-5","6.5"\n', None),
    "some quoted": (b'a,b,y\n1,"7",3\n"4",-5, "6.5" \n', ["a", "b"]),
    "quoted with many digits": (b'1,7,"3.00000000000000000000000000001"\n4,-5,6.5\n', None),
    "quoted, semicolons": (b'"1";"7";"3"\r\n"4";"-5";"6.5"\r\n', None),
    "quoted, tabs": (b'"1"\t"7"\t"3"\n"4"\t"-5"\t"6.5"\n', None),
    "quoted, blanks": (b'"1" "7"  "3"\n"4" "-5" "6.5"\n', None),
    "separators in titles": (b'"a, or b","c;d",y\n1,7,3\n4,-5,6.5\n', ["a, or b", "c;d"]),
    "hash in titles": (b'"a#1",b,y\n1,7,3\n4,-5,6.5\n', ["a#1", "b"]),
    "trailing": (b"1,7,3,\n4,-5,6.5,\n", None),
    "trailing with titles": (b"a,b,y,\n1,7,3,\n4,-5,6.5,\n", ["a", "b"]),
    "trailing in the titles alone": (b"a,b,y,\n1,7,3\n4,-5,6.5\n", ["a", "b"]),
    "trailing in the rows alone": (b"a,b,y\n1,7,3,\n4,-5,6.5,\n", ["a", "b"]),
    "trailing semicolons": (b"1;7;3; \r\n4;-5;6.5;# c\r\n", None),
    "trailing tabs": (b"1\t7\t3\t\n4\t-5\t6.5\t\n", None),
    "trailing and quoted": (b'"1","7","3",\n"4","-5","6.5",\n', None),
    "CRLF": (b"a,b,y\r\n1,7,3\r\n4,-5,6.5\r\n", ["a", "b"]),
    "blank lines at the end": (b"1,7,3\n4,-5,6.5\n\n \n\r\n", None),
    "no newline at the end": (b"1,7,3\n4,-5,6.5", None),
}


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", READ)
def test_csv_is_read(tmp_path, name, size):
    text, names = READ[name]
    path = tmp_path / "f.csv"
    path.write_bytes(text)
    assert rows(path, size) == (POINTS, names)
    packed = tmp_path / "f.csv.gz"
    packed.write_bytes(gzip.compress(text))
    assert rows(packed, size) == (POINTS, names)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", ["f.svm", "f"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n\r\n", b""])
@pytest.mark.parametrize("start", [BOM, BOM + b"# c\n", b""])
def test_libsvm_is_read(tmp_path, name, size, start, end):
    path = tmp_path / name
    path.write_bytes(start + b"3 1:1 2:7\r\n6.5 1:4 2:-5" + end)
    assert rows(path, size) == (POINTS, None)


def test_a_long_quoted_file_is_the_plain_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(3000, 4)).round(6)
    for name, form in (("plain.csv", "{}"), ("quoted.csv", '"{}"')):
        lines = (",".join(form.format(v) for v in row) for row in x.tolist())
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    assert rows(tmp_path / "quoted.csv", 3) == rows(tmp_path / "plain.csv", 1)


WORDS = "; to train on a table with words or gaps, name the column of the target: --target NAME"
HINT = "; write a decimal point, and no separators of thousands"
REFUSED = {
    "f.csv": {
        b'a,b,y\n"1,5",2,3\n': 'line 2, column 1: found "1,5"; a field must be one finite number' + HINT,
        b'"1,5","2,5"\n"3,5","4,5"\n': 'line 1, column 1: found "1,5"; a field must be one finite number' + HINT,
        b'a,b\n3,4\n"1,2\n': 'line 3, column 1: found "1,2; the quotes are not closed in this line',
        b'a,b\n1"2,2\n': 'line 2, column 2: found "2,2; the quotes are not closed in this line',
        b'a,b\n1"2",2\n': "line 2, column 1: found '1\"2\"'; a field must be a finite decimal number",
        b'a,b\n1,2\n"",2\n': "line 3, column 1: found '\"\"'; a field must be a finite decimal number",
        b'a,b\n"1","x"\n': "line 2, column 5: found '\"x\"'; a field must be a finite decimal number" + WORDS,
        b'a,b\n1,"2"\n3,x\n': "line 3, column 3: found 'x'; a field must be a finite decimal number" + WORDS,
        b"a;b\n1,5;2,5\n": "line 2, column 1: found '1,5'; a field must be a finite decimal number" + HINT,
        b"1,5;2,5\n1,5;2,5\n": "line 1, column 1: found '1,5'; a field must be a finite decimal number" + HINT,
        b"a;b\n1;1,234,567.5\n": "line 2, column 3: found '1,234,567.5'; a field must be a finite decimal number"
        + HINT,
        b"a\tb\n-1,5e3\t2\n": "line 2, column 1: found '-1,5e3'; a field must be a finite decimal number" + HINT,
        b"a,b,\n1,2,3\n": "line 2, column 3: found '2'; every row must have 2 fields, as the first has",
        b"a,b\n1,\n": "line 2, column 3: found the end of the line; a field must be a finite decimal number" + WORDS,
        b"a,b\n1,2,,\n": "line 2, column 3: found '2'; every row must have 2 fields, as the first has",
        b"a,b\r1,2\r3,4\r": "its lines end with a carriage return alone; convert it: tr '\\r' '\\n' < {} > NEW",
        b"a,b\n1,2\r3,4\n": "line 2, column 3: found '2\\r3'; a field must be a finite decimal number",
    },
    "f.svm": {
        b"1 1:0,5\n": "line 1, column 5: found '0,5'; a value must be a finite decimal number" + HINT,
        b"1,5 1:5\n": "line 1, column 1: found '1,5'; a row must begin with one label, a finite number" + HINT,
        b"1 1:2\r-1 1:3\r": "its lines end with a carriage return alone; convert it: tr '\\r' '\\n' < {} > NEW",
        b'"1" 1:2\n': "line 1, column 1: found '\"1\"'; a row must begin with one label, a finite number",
    },
}


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in texts])
def test_refused(tmp_path, name, text, size):
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(ValueError, match=str(path)) as caught:
        spmd(size, lambda c: prepare(str(path), "real", DataOptions(), 1, c), timeout=60)
    assert str(caught.value).endswith(REFUSED[name][text].format(path))


@pytest.mark.parametrize("code", ["utf-16", "utf-32", "utf-16-be"])
@pytest.mark.parametrize("name", ["f.svm", "f.csv", "f.csv.gz"])
@pytest.mark.parametrize("form", ["auto", "named"])
def test_other_encodings_are_named(tmp_path, code, name, form):
    text = ("\ufeff" if code == "utf-16-be" else "") + "1 1:2\n"
    raw = text.encode(code)
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    form = form if form == "auto" else name[2:5].replace("svm", "libsvm")
    with pytest.raises(ValueError, match=f"is {code[:6].upper()} text; convert it: iconv -f {code[:6].upper()} "):
        rows(path, 1, form)


def test_the_usual_text_is_not_repaired(tmp_path, monkeypatch):
    """The fast parser alone reads text without quotes and trailing separators."""

    def never(*_):
        raise AssertionError("the fast parser found a fault")

    monkeypatch.setattr("mpiopt.data.formats.csv.plain", never)
    (tmp_path / "f.csv").write_bytes(b'"a","b",y\r\n1,7,3 # c\r\n4,-5,6.5\r\n')
    assert rows(tmp_path / "f.csv", 2)[0] == POINTS
