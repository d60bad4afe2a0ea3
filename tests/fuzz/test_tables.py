"""Texts of tables drawn from seeds are read as pandas reads them, or refused in one line."""

from tests.fuzz.tables import REFUSED, difference


def test_texts_are_read_as_pandas_reads_them_or_refused(tmp_path):
    found = [difference(seed, tmp_path) for seed in range(60)]
    assert {*found} <= {"", REFUSED}
    assert found.count(REFUSED) < 30
