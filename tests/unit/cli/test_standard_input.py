"""`-` is standard input, which one rank reads."""

import io
import tempfile
from pathlib import Path

import pytest

from mpiopt.cli.standard_input import input_as_file
from mpiopt.comm.threads import single, spmd
from tests.cases.command import mpiopt, mpiopt_on
from tests.cases.tables import made


class Given(io.TextIOWrapper):
    """Standard input with given bytes."""

    def __init__(self, content):
        super().__init__(io.BytesIO(content))


@pytest.fixture
def given(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda content: monkeypatch.setattr("sys.stdin", Given(content))


def test_a_model_is_trained_on_standard_input_and_applied_to_it(given, tmp_path, capsys):
    frame = made(rows=60)
    text = frame.to_csv(index=False).encode()
    words = ("--format", "csv", "--target", "wins", "--columns", "age,city", "--gaps", "level", "--l2", "0.1")
    given(text)
    assert mpiopt("train", "-", *words) == 0
    (tmp_path / "a.csv").write_bytes(text)
    assert mpiopt("train", "a.csv", *words) == 0
    answers = []
    for model, data in (("stdin.h5", "-"), ("a.h5", "a.csv")):
        given(text)
        assert mpiopt("predict", model, data, "--kind", "margin", "--out", "out.txt", "--overwrite") == 0
        answers.append(Path("out.txt").read_text())
    assert answers[0] == answers[1]
    assert not list(tmp_path.glob("mpiopt-*"))
    capsys.readouterr()
    frame.to_parquet("a.parquet")
    given(Path("a.parquet").read_bytes())
    assert mpiopt("describe", "-") == 0
    assert "60 rows, 9 columns" in capsys.readouterr().out


@pytest.mark.parametrize("before", ["--quiet", "--nonnegative", "--l2=0.1", "--"])
def test_behind_a_flag_without_a_value_it_is_standard_input(given, before):
    given(b"1 1:1\n")
    with input_as_file(["train", before, "-"], single()) as words:
        assert Path(words[2]).read_bytes() == b"1 1:1\n"


def test_several_ranks_a_launcher_and_a_terminal_are_refused(given, capsys, monkeypatch):
    given(b"1 1:1\n")
    assert mpiopt_on(2, "train", "-") == {2}
    assert "standard input is read by one rank" in capsys.readouterr().err
    with monkeypatch.context() as launcher:
        launcher.setenv("OMPI_COMM_WORLD_SIZE", "1")
        assert mpiopt("train", "-") == 2
    assert "Open MPI's mpirun may lose the end of standard input" in capsys.readouterr().err
    monkeypatch.setattr(Given, "isatty", lambda self: True)
    assert mpiopt("train", "-") == 2
    assert "standard input is not connected" in capsys.readouterr().err


def test_behind_a_flag_and_for_other_commands_it_is_a_word():
    def words(comm):
        with (
            input_as_file(["train", "a.csv", "--out", "-"], comm) as one,
            input_as_file(["compare", "-"], comm) as two,
        ):
            return [*one], [*two]

    with input_as_file(["train", "a.csv", "-o", "-"], single()) as short:
        assert [*short] == ["train", "a.csv", "-o", "-"]
    assert words(single()) == (["train", "a.csv", "--out", "-"], ["compare", "-"])
    assert len(spmd(2, words)) == 2
