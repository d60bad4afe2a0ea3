"""What docs/howto/plugins.md says works: its blocks are put into a copy, the laws pass, a run is certified."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "howto" / "plugins.md").read_text()
BLOCKS = re.findall(r"^```python\n# ([\w/.]+)(?:, in (\w+)\(\))?\n(.*?)^```$", TEXT, re.M | re.S)
COPIED = [
    "conftest.py",
    "cases/problems.py",
    "unit/objective/test_losses.py",
    "laws/test_compressors.py",
    "laws/test_algorithms.py",
]
TRAINING = """
import sys
from mpiopt.cli.main import run
from mpiopt.comm.threads import spmd
from mpiopt.resilience.signals import StopSignal
data = "generate:n=400,d=5,task=regression"
words = ["train", data, "--loss", "log-cosh", "--intercept", "--compress", "powers", "--downlink", "--out", "run.h5"]
sys.exit(max(spmd(2, lambda comm: run(words, comm, StopSignal()))))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A tree with the page's files in it; the rest of the package are links, so that compiled kernels are reused."""
    tree = tmp_path_factory.mktemp("copy")
    (tree / "mpiopt").mkdir()
    families = {Path(path).parts[1] for path, _, _ in BLOCKS if path.startswith("mpiopt/")}
    for item in (ROOT / "mpiopt").iterdir():
        if item.name in families:
            shutil.copytree(item, tree / "mpiopt" / item.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif item.name != "__pycache__":
            (tree / "mpiopt" / item.name).symlink_to(item)
    for name in COPIED:
        (tree / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, tree / "tests" / name)
    shutil.copytree(ROOT / "tests" / "golden", tree / "tests" / "golden")
    shutil.copy(ROOT / "setup.cfg", tree)
    for path, function, block in BLOCKS:
        place = tree / path
        assert place.exists() == bool(function), path
        place.write_text(inserted(place.read_text(), function, block) if function else block)
    return tree


def inserted(text, function, block):
    """Put lines of a table at its beginning, a branch before the function's `return x`."""
    start = text.index(f"def {function}(")
    branch = block.startswith("    elif")
    at = text.index("    return x\n", start) if branch else text.index("{\n", start) + 2
    return text[:at] + block + text[at:]


def python(tree, *words, seconds=120):
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True, timeout=seconds
    )


def test_there_is_a_loss_and_a_compressor():
    assert {Path(path).parent.name for path, _, _ in BLOCKS} == {"losses", "compressors", "objective", "laws"}


def test_the_laws_pass(copy):
    golden = python(copy, "-m", "tests.golden.compressors")
    assert golden.stdout.startswith("1 written"), golden.stderr
    chosen = "log-cosh or powers or options_are"
    tests = [f"tests/{name}" for name in COPIED if "test_" in name]
    done = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *tests)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed > 100


def test_a_run_with_both_is_certified(copy):
    shown = python(copy, "-m", "mpiopt", "list", "losses", "compressors").stdout
    assert "log cosh(z - y) for real targets" in shown
    assert re.search(r"^  powers .* biased", shown, re.M)
    done = python(copy, "-c", TRAINING)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "log-cosh loss" in done.stdout
    assert "powers" in done.stdout
    assert "duality gap" in done.stdout


def test_every_family_is_in_the_table():
    from mpiopt.cli.list import FAMILIES

    rows = [line for line in TEXT.splitlines() if line.startswith("| ")]
    for module, cls in FAMILIES.values():
        package = "/".join(module.split(".")[:-1])
        assert any(f"`{package}`" in row and (f"`{cls}`" in row or row.startswith("| network")) for row in rows), cls
    for name in re.findall(r"`(?:tests/laws/)?(test_\w+\.py)`", TEXT):
        assert list((ROOT / "tests").rglob(name)), name
