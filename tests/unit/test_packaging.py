"""Recipes of package managers: version and dependencies are those of setup.cfg, and the files can be read."""

import configparser
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import mpiopt

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
NEEDED = {*SETUP["options"]["install_requires"].split()}  # as numpy>=2.0
PYTHON = SETUP["options"]["python_requires"]


def read(name):
    return (PACKAGING / name).read_text()


def test_conda_needs_what_the_wheel_needs():
    text = read("conda/recipe.yaml")
    run = re.search(r"^  run:\n((?:    - .*\n)+)", text, re.M)[1]
    listed = {line.strip("- \n").replace(" ", "") for line in run.splitlines()}
    assert listed - {"mpi*${{mpi}}", "${{mpi}}"} == {*NEEDED, f"python{PYTHON}"}
    assert f"  version: {mpiopt.__version__}\n" in text
    assert re.findall(r"^  - (\w+)$", read("conda/variants.yaml"), re.M) == ["mpich", "openmpi"]
    assert SETUP["options.entry_points"]["console_scripts"].strip() in text
    assert SETUP["metadata"]["description"] in text


@pytest.fixture(scope="module")
def spack():
    """Return the class of the Spack recipe and the calls of Spack's directives that it makes."""
    calls, stand_in = [], types.ModuleType("spack.package")
    stand_in.PythonPackage = type("PythonPackage", (), {})
    for name in ("maintainers", "license", "version", "variant", "depends_on"):
        setattr(stand_in, name, lambda *words, name=name, **more: calls.append((name, words, more)))
    stand_in.which = stand_in.check_outputs = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "spack", types.ModuleType("spack"))
        patch.setitem(sys.modules, "spack.package", stand_in)
        names = {}
        exec(compile(read("spack/py-mpiopt/package.py"), "package.py", "exec"), names)
    return names["PyMpiopt"], calls


def test_spack_needs_what_the_wheel_needs(spack):
    recipe, calls = spack
    needs = {words[0]: more for name, words, more in calls if name == "depends_on"}
    plain = {
        re.sub(r"^py-", "", word) for word, more in needs.items() if "run" in more["type"] and "when" not in more
    }
    assert plain == {f"{need.replace('>=', '@')}:" for need in NEEDED} | {f"python@{PYTHON[2:]}:", "mpi"}
    assert recipe.pypi == f"mpiopt/mpiopt-{mpiopt.__version__}.tar.gz"
    assert recipe.homepage == SETUP["metadata"]["url"]


def test_spack_has_what_its_linter_asks_for(spack):
    recipe, calls = spack
    assert {"maintainers", "license", "version"} <= {name for name, *_ in calls}
    assert recipe.__doc__.startswith(SETUP["metadata"]["description"][:40])
    assert " ".join(recipe.__doc__.split()).rstrip(".") == SETUP["metadata"]["description"]
    variants = {words[0] for name, words, _ in calls if name == "variant"}
    assert variants <= set(SETUP["options.extras_require"])
    for name, words, more in calls:
        if "when" in more:
            extra = SETUP["options.extras_require"][more["when"][1:]]
            assert words[0].removeprefix("py-") in extra, (name, words)
    assert all(getattr(recipe, name).__doc__ for name in vars(recipe) if name.startswith("test_"))
    assert any(name.startswith("test_") for name in vars(recipe)), "R1 of xSDK: a smoke test"
    assert "SPDX-License-Identifier: (Apache-2.0 OR MIT)" in read("spack/py-mpiopt/package.py")


@pytest.mark.parametrize("name", ["containers/Dockerfile", "containers/mpiopt.def"])
def test_containers_install_the_wheel_with_extras_that_are_there(name):
    text = read(name)
    [extras] = re.findall(r"EXTRAS=(\S+)", "\n".join(line for line in text.splitlines() if line[:1] != "#"))
    assert set(extras.split(",")) <= set(SETUP["options.extras_require"])
    version = re.search(r"python:(3\.\d+)-slim", text)[1]
    assert f"Programming Language :: Python :: {version}" in SETUP["metadata"]["classifiers"]


def test_the_scripts_of_apptainer_are_bash():
    parts = re.split(r"^%(\w+)\n", read("containers/mpiopt.def"), flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert {"post", "environment", "runscript", "test", "help"} <= set(sections)
    for name in ("post", "environment", "runscript", "test"):
        assert subprocess.run(["bash", "-n"], input=sections[name], text=True, capture_output=True).stderr == "", name


def test_the_module_has_the_version():
    text = read("modules/mpiopt")
    assert text.startswith("#%Module1.0\n")
    assert f"set version {mpiopt.__version__}\n" in text


def test_every_file_is_in_the_table():
    told = read("README.md")
    for path in PACKAGING.rglob("*"):
        if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts:
            assert str(path.relative_to(PACKAGING)) in told, path
