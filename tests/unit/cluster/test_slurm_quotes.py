"""Names and paths in #SBATCH lines mean to sbatch what they are, and no value can add a line to a script."""

import os
import subprocess
from pathlib import Path

import pytest

from mpiopt.cli.main import run
from mpiopt.cluster.slurm import scripts
from mpiopt.comm.threads import single
from mpiopt.resilience.signals import StopSignal

NAMES = [
    "plain",
    "two words",
    "  blanks  ",
    "it's",
    'say "hi"',
    "back\\slash",
    "all \\\" of' them #1",
    "a#b",
    "#begin",
    "tab\t".strip(),
    "100%",
    "$HOME `id` $(id)",
    "Größe é",
    "semi;colon&",
]
EVIL = ["a\n#SBATCH --partition=other", "a\nrm -rf x", "a\rb", "a\0b", "a\x1b[31m", "a\u2028b", "a\x0bb", "\n"]


def sbatch_argument(line):
    """Read the value of one option as sbatch does: quotes, a backslash before any letter, # ends it."""
    text, quote, escaped, found = line, "", False, ""
    for letter in text:
        if escaped:
            escaped, found = False, found + letter
        elif letter == "\\":
            escaped = True
        elif quote and letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        elif not quote and (letter.isspace() or letter == "#"):
            break
        else:
            found += letter
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return tmp_path


def submit(*words):
    return run(["submit", "generate:n=300,d=6,task=binary", "--dry-run", *words], single(), StopSignal())


def options(path):
    """Return the values of the #SBATCH lines of a script, as sbatch reads them."""
    lines = [line for line in Path(path).read_text().splitlines() if line.startswith("#SBATCH --")]
    found = [line.removeprefix("#SBATCH --").partition("=") for line in lines]
    return {name: sbatch_argument(value) for name, _, value in found}


@pytest.mark.parametrize("value", NAMES)
def test_a_value_is_read_as_it_was_given(value):
    assert sbatch_argument(scripts.quoted(value)) == value
    text = scripts.filled(scripts.read("train"), {"job-name": value, "nodes": "2"}, {}, ["x"], "shown")
    line = next(line for line in text.splitlines() if line.startswith("#SBATCH --job-name"))
    assert sbatch_argument(line.partition("=")[2]) == value


@pytest.mark.parametrize("name", ["two words", "it's", 'say "hi"', "a#b", "100%", "$(touch hacked)"])
def test_submit_quotes_names_and_paths(here, name):
    assert submit("--out", f"{name}/{name}.h5", "--account", name, "--partition", name) == 0
    found = options(f"{name}/{name}.sbatch")
    assert (found["job-name"], found["account"], found["partition"]) == (name, name, name)
    assert found["output"].replace("%%", "%") == f"{name}/{name}.out"
    assert "%" not in found["output"].replace("%%", "")
    assert found["chdir"] == str(here)
    shown = subprocess.run(
        ["bash", "-c", f"set -u; {words_of(name)}; printf '%s\\n' \"$@\""], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == f"{name}/{name}.h5"
    assert not Path("hacked").exists()


def words_of(name):
    """Return the line of the script that sets its arguments."""
    return next(line for line in Path(f"{name}/{name}.sbatch").read_text().splitlines() if line.startswith("set -- "))


@pytest.mark.parametrize("flag", ["--out", "--name", "--account", "--partition", "--time"])
@pytest.mark.parametrize("evil", EVIL)
def test_a_value_that_ends_its_line_is_refused(here, capsys, flag, evil):
    if "\0" in evil and flag == "--out":
        evil = "a\x01b"  # no path holds a zero byte
    value = f"runs/{evil}.h5" if flag == "--out" else f"30{evil}" if flag == "--time" else evil
    assert submit(flag, value, *(() if flag == "--out" else ("--out", "r.h5"))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert flag in said
    assert not list(here.rglob("*.sbatch"))


def test_a_folder_whose_name_ends_a_line_is_refused(here, capsys, monkeypatch):
    folder = here / "a\n#SBATCH --account=other"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert submit("--out", "r.h5") == 2
    assert "chdir must not hold a newline" in capsys.readouterr().err


def test_a_backslash_in_a_path_of_output_is_refused(here, capsys):
    assert submit("--out", "a\\b.h5") == 2
    assert "Slurm writes no output to a path with a backslash" in capsys.readouterr().err


def test_a_sweep_quotes_its_folder(here):
    job = 'path = "generate:n=300,d=6"\nout = "my runs/50%.h5"\n[sweep]\nl2 = [0.1, 1.0]\n'
    Path("sweep.toml").write_text(job)
    assert run(["submit", "sweep.toml", "--dry-run"], single(), StopSignal()) == 0
    for script in here.rglob("*.sbatch"):
        found = options(script)
        assert found["output"].startswith("my runs")
        assert "%" not in found["output"].replace("%%", "").replace("%a", "")
