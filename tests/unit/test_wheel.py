"""The wheel: all that the package needs is in it, and it works where the repository is not."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import mpiopt

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
# Trains on one rank, without MPI, and says what it has loaded that only analysis needs.
TRAIN = """import sys
from mpiopt.cli.main import run
from mpiopt.comm.threads import single
from mpiopt.resilience.signals import StopSignal
code = run(["train", "generate:n=200,d=5", "--quiet", "--out", "a.h5"], single(), StopSignal())
needless = {"matplotlib", "plotly", "pandas", "sklearn", "networkx", "pyarrow", "mpiopt.results.html"}
needless &= set(sys.modules)
print(code, sys.modules["mpiopt"].__file__, *sorted(needless), sep="\\n")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the folder of an unpacked wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "mpiopt", folder / "mpiopt", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([sys.executable, "-c", BUILD, "dist"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "dist" / done.stdout.split()[-1]) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def installed(wheel, folder, *words):
    """Run Python with the wheel alone, not the repository, in its path."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_", "SLURM_"))}
    command = [sys.executable, "-P", *words]
    # A path that is set comes before what an editable installation adds.
    return subprocess.run(
        command, cwd=folder, env=variables | {"PYTHONPATH": str(wheel)}, capture_output=True, text=True, timeout=60
    )


def test_all_files_of_the_package_are_in_it_and_nothing_else(wheel):
    ours = {path.relative_to(ROOT) for path in (ROOT / "mpiopt").rglob("*") if path.is_file()}
    ours = {str(path) for path in ours if "__pycache__" not in path.parts}
    there = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    assert {path for path in there if ".dist-info" not in path} == ours
    assert "mpiopt/py.typed" in ours


def test_the_version_is_that_of_the_package_and_the_newest_of_the_changes(wheel):
    [metadata] = wheel.glob("*.dist-info/METADATA")
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert message_from_string(metadata.read_text())["Version"] == mpiopt.__version__ == newest[1]


def test_it_trains_and_loads_nothing_that_only_analysis_needs(wheel, tmp_path):
    done = installed(wheel, tmp_path, "-c", TRAIN)
    assert done.stdout.splitlines() == ["0", str(wheel / "mpiopt" / "__init__.py")], done.stdout + done.stderr
    assert (tmp_path / "a.h5").exists()


def test_its_batch_scripts_are_there(wheel, tmp_path):
    (tmp_path / "job.toml").write_text('path = "generate:n=200,d=5"\n')
    words = shlex.split("submit job.toml --nodes 2 --tasks-per-node 4 --time 1:00:00 --out m.h5 --dry-run")
    done = installed(wheel, tmp_path, "-m", "mpiopt", *words)
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --nodes=2" in (tmp_path / "m.sbatch").read_text()
