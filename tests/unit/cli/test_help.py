"""The help of every command: what it does, how it is called, examples; at most 80 columns."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

from mpiopt.cli.help import CALLS, EXAMPLES, FLAGS, TEXTS, WIDTH, folded, usage
from mpiopt.cluster.slurm.submit import SubmitOptions
from mpiopt.core.config.commands import COMMANDS
from tests.cases.command import mpiopt


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_has_examples_and_fits_the_terminal(name, capsys):
    assert mpiopt(*filter(None, [name]), "--help") == 0
    shown = capsys.readouterr().out
    assert shown.rstrip("\n") == usage([name, "--help"])
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert 1 <= len(EXAMPLES[name]) <= 4 - (name != "")
    assert all(f"\n  {line}\n" in shown for line in EXAMPLES[name])
    if name:
        assert re.search(rf"^ *mpiopt {name}\b", shown, re.M), "how it is called"
        assert all(re.search(rf"\bmpiopt {name}\b", line) for line in EXAMPLES[name])


def test_help_is_for_commands_that_there_are():
    assert set(EXAMPLES) == {"", *COMMANDS}
    assert set(CALLS) < set(COMMANDS)


@pytest.mark.parametrize("name", ["predict", "convert", "plot", "list"])
def test_the_flags_that_are_shown_are_those_that_are_read(name):
    """Of commands whose module has no USAGE: the text here must follow the code there."""
    module = importlib.import_module(COMMANDS[name].module)
    source = inspect.getsource(COMMANDS[name].load())
    flags = getattr(module, "FLAGS", {}) if "parse(words, FLAGS)" in source else None
    known = set(flags if flags is not None else re.findall(r'"([\w-]+)": (?:True|False)', source))
    assert {*re.findall(r"--([\w-]+)", CALLS[name])} == known


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_flag_of_a_call_is_explained(name):
    """`plan` explains its flags in its own text, `train` those of a job."""
    shown = usage([name]).partition("\nexample")[0]
    explained = {flag.split()[0] for flag in FLAGS.get(name, {})}
    if name not in ("train", "plan"):
        assert {*re.findall(r"\[?-?-([a-z][\w-]*)", shown.split("\n\n")[1])} <= explained
    assert "--log-level LEVEL" in shown


def test_all_flags_of_submit_are_explained():
    fields = {field.name.replace("_", "-") for field in dataclasses.fields(SubmitOptions)}
    assert {flag.split()[0] for flag in FLAGS["submit"]} == fields


def test_exit_codes_are_a_topic_of_the_help_and_the_same_as_in_the_documentation(capsys):
    assert mpiopt("help", "exit-codes") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= WIDTH
    page = (Path(__file__).parents[3] / "docs" / "reference" / "exit-codes.md").read_text()
    codes = [str(row["code"]) for row in TEXTS["exit-codes"]]
    assert re.findall(r"^\| (\d+) \|", page, re.M) == codes == re.findall(r"^ +(\d+)  ", shown, re.M)


def test_long_lines_are_folded_between_brackets_and_under_their_text():
    line = "  --flag VALUE   " + "word " * 20
    assert [len(part) - len(part.lstrip()) for part in folded(line).splitlines()] == [2, 17]
    shown = folded("mpiopt x " + "[--some flag|other] " * 6)
    assert all(part.count("[") == part.count("]") for part in shown.splitlines())
