"""One damaged file of several: the others are shown, and it is one line and exit code 2."""

from pathlib import Path

import h5py
import numpy as np
import pyarrow
import pyarrow.feather
import pytest

from mpiopt.cli.main import run
from mpiopt.comm.threads import single
from mpiopt.core.printable import printable
from mpiopt.resilience.signals import StopSignal
from tests.cases.result_files import changed, made_run


def mpiopt(*words):
    return run([str(word) for word in words], single(), StopSignal())


@pytest.fixture
def two(here):
    for name in ("good", "bad"):
        made_run(Path(f"{name}.h5"))
    raw = bytearray(Path("bad.h5").read_bytes())
    raw[len(raw) // 3] ^= 8
    Path("bad.h5").write_bytes(raw)


@pytest.mark.parametrize("words", [["status", "."], ["inspect"], ["compare"], ["report"], ["plot", "--out", "p.png"]])
def test_the_good_one_is_shown(two, capsys, words):
    if words[0] == "plot":
        pytest.importorskip("matplotlib")
    files = [] if words[0] == "status" else ["bad.h5", "good.h5"]
    assert mpiopt(*words, *files) == 2
    shown = capsys.readouterr()
    assert "good" in shown.out or "written" in shown.out
    assert shown.err.startswith("mpiopt: bad.h5: is damaged: the checksum of bytes")
    assert len(shown.err.splitlines()) == 1


def test_a_result_of_another_shape_is_one_line(here, capsys):
    made_run(Path("a.h5"))
    with changed(Path("a.h5")) as f:
        del f["model/intercept"]
        f["model/intercept"] = [[1.0, 2.0]]
    assert mpiopt("inspect", "a.h5") == 2
    assert "a.h5: damaged mpiopt result (coefficients of shape (1, 3), intercepts of shape (1, 2))" in (
        capsys.readouterr().err
    )


def test_nothing_of_a_file_reaches_the_terminal_as_a_command(here, capsys):
    with h5py.File("a.h5", "w") as f:
        f.attrs["title"] = "\x1b[2J\x1b]0;owned\x07"
        f["\x1b[31mred"] = [1.0]
    assert mpiopt("inspect", "a.h5") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\\x1b[31mred" in out
    assert printable("a\u202eb\tc\n") == "a\\u202eb\tc\n"


def test_a_result_is_read_back(here, monkeypatch):
    from mpiopt.results import result_file

    write = result_file.write_whole

    def wrong(path, image):
        write(path, image[:3000] + bytes([image[3000] ^ 1]) + image[3001:])

    monkeypatch.setattr(result_file, "write_whole", wrong)
    with pytest.raises(OSError, match=r"what was written cannot be read back: a.h5: is damaged"):
        made_run(Path("a.h5"))


def test_offsets_of_a_feather_file_that_point_nowhere_are_one_line(here, capsys):
    words = pyarrow.table({"city": ["aa", "bb", "cc"], "y": [0.0, 1.0, 1.0]})
    pyarrow.feather.write_feather(words, "t.feather", compression="uncompressed")
    whole, offsets = Path("t.feather").read_bytes(), np.array([0, 2, 4, 6], np.int32).tobytes()
    assert whole.count(offsets) == 1
    Path("t.feather").write_bytes(whole.replace(offsets, np.array([0, 1 << 30, 4, 6], np.int32).tobytes()))
    assert mpiopt("describe", "t.feather", "--target", "y") == 2
    shown = capsys.readouterr().err
    assert shown.startswith("mpiopt: t.feather: is not a whole arrow file: In column 0: ")
    assert len(shown.splitlines()) == 1
