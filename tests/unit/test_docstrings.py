"""Docstrings of the public names: complete in the form of numpydoc, with examples that run.

`docs/api.toml` is the list of the public names, from which the documentation makes its API pages.
"""

import dataclasses
import doctest
import importlib
import inspect
import tomllib

import pytest

import mpiopt
import mpiopt.results
from tests.conftest import ROOT

# Names below the public ones that a reader of a run's files or state needs.
INNER = {
    "RunPlan": "mpiopt.training.run_state",
    "RunState": "mpiopt.training.run_state",
    "StopSignal": "mpiopt.resilience.signals",
    "Checkpoints": "mpiopt.resilience.checkpoint.store",
}
LISTED = tomllib.loads((ROOT / "docs" / "api.toml").read_text())
PUBLIC = {name: home for names in LISTED.values() for name, home in names.items()}
NAMES = {**PUBLIC, **INNER}


def found(name):
    return getattr(importlib.import_module(NAMES[name]), name)


def sections(thing):
    """Return the sections of a docstring: heading -> lines; the text before the first heading has the key ""."""
    parts, heading, lines = {"": []}, "", inspect.getdoc(thing).splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if after and line and not after.strip("-"):
            heading = line
            parts[heading] = []
        elif line.strip("-") or not line:
            parts[heading].append(line)
    return parts


def described(parts):
    """Return the names that stand before a type in Parameters and Attributes."""
    heads = [line for title in ("Parameters", "Attributes") for line in parts.get(title, ()) if line[:1].strip()]
    return {name.strip("* ") for head in heads for name in head.partition(" :")[0].split(",")}


def parameters(thing):
    if dataclasses.is_dataclass(thing):
        return {field.name for field in dataclasses.fields(thing) if not field.name.startswith("_")}
    if inspect.isclass(thing) and (inspect.isabstract(thing) or getattr(thing, "_is_protocol", False)):
        return set()
    return set(inspect.signature(thing).parameters) - {"self"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_docstring_is_complete(name):
    thing = found(name)
    parts = sections(thing)
    assert parts[""][0].endswith("."), "the first line is a sentence"
    assert not parts[""][1:2] or parts[""][1] == "", "the first sentence fits into one line"
    assert parameters(thing) <= described(parts), "every parameter is described"
    if inspect.isfunction(thing) and inspect.signature(thing).return_annotation not in (None, "None"):
        assert "Returns" in parts
    assert "Examples" in parts


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_examples_run(name):
    thing = found(name)
    examples = [one for one in doctest.DocTestFinder().find(thing, name) if one.examples]
    assert examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report = []
    for one in examples:
        runner.run(one, out=report.append)
    assert not runner.failures, "".join(report)


def test_the_list_of_public_names_is_complete():
    names = {name for name in mpiopt.__all__ if not inspect.ismodule(getattr(mpiopt, name))}
    assert names | {*mpiopt.results.__all__} <= PUBLIC.keys()
    for name in PUBLIC:
        assert inspect.getdoc(found(name)), name
