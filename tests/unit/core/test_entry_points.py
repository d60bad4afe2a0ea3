"""Another package brings plug-ins by entry points: found by name, refused with one line when something is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PLUGINS = '''
from dataclasses import dataclass
from mpiopt.compress.compressors.none import NoCompression
from mpiopt.objective.losses.squared import Squared

@dataclass(frozen=True)
class Other(NoCompression):
    """Bytes as they are."""
    name = "other-bytes"

@dataclass(frozen=True)
class HalfSquared(Squared):
    """The squared loss under another name."""
    name = "half-squared"
'''


def install(folder, points, module=PLUGINS):
    """Write a package as pip would leave it: a module and the metadata with its entry points."""
    (folder / "elsewhere.py").write_text(module)
    metadata = folder / "elsewhere_plugins-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere-plugins\nVersion: 1.0\n")
    lines = [f"[{group}]\n{name} = {value}" for group, name, value in points]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


def python(folder, text):
    """Run a program in a process of its own, which alone sees the package."""
    program = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n" + text
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)


TRAIN = """
from mpiopt.cli.main import run
from mpiopt.comm.threads import spmd
from mpiopt.resilience.signals import StopSignal
words = ("train generate:n=200,d=4,condition=3 --loss half-squared --algorithm saga --compress other-bytes "
         "--tol 1e-6 --out o.h5").split()
assert spmd(2, lambda comm: run(words, comm, StopSignal())) == [0, 0]
from mpiopt.results.result_file import read_result
assert read_result("o.h5").provenance["loss"].startswith("half-squared")
"""


def test_a_run_uses_a_loss_and_a_compressor_of_another_package(tmp_path):
    install(
        tmp_path,
        [
            ("mpiopt.losses", "half-squared", "elsewhere:HalfSquared"),
            ("mpiopt.compressors", "other-bytes", "elsewhere"),  # a module instead of a class
        ],
    )
    done = python(tmp_path, TRAIN)
    assert done.returncode == 0, done.stderr
    assert "certified" in done.stdout


WRONG = {
    "elsewhere:Missing": "cannot be loaded (AttributeError: module 'elsewhere' has no attribute 'Missing')",
    "nowhere": "cannot be loaded (ModuleNotFoundError: No module named 'nowhere')",
    "elsewhere:HalfSquared": "is not a compressor: elsewhere:HalfSquared must be, or contain, a subclass of",
}


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_entry_point_is_an_error_that_names_the_package(value, tmp_path):
    install(tmp_path, [("mpiopt.compressors", "x", value)])
    done = python(tmp_path, "from mpiopt.compress.compressors.base import Compressor\nCompressor.known()")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: package elsewhere-plugins: the entry point 'x' of mpiopt.compressors ")
    assert WRONG[value] in last


def test_a_plug_in_whose_name_is_taken_is_refused(tmp_path):
    install(tmp_path, [("mpiopt.losses", "x", "elsewhere:HalfSquared")], PLUGINS.replace("half-squared", "huber"))
    done = python(tmp_path, "from mpiopt.objective.losses.base import Loss\nLoss.known()")
    last = done.stderr.splitlines()[-1]
    assert "package elsewhere-plugins" in last
    assert "the name 'huber' is taken by mpiopt.objective.losses.huber" in last
