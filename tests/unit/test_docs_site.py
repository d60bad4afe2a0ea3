"""Around the pages: the README is short, the version is one, packages are pinned, the API list is true."""

import importlib
import re
import tomllib

import mpiopt
from tests.documented import DOCUMENTS, ROOT


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_version_is_that_of_the_citation():
    assert re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == mpiopt.__version__
    assert f"version = {{{mpiopt.__version__}}}" in (ROOT / "README.md").read_text()
    assert "version = attr: mpiopt.__version__\n" in (ROOT / "setup.cfg").read_text()


def test_every_package_of_the_site_is_pinned_and_has_a_reason():
    lines = (ROOT / "requirements-docs.txt").read_text().splitlines()
    reasons = (ROOT / "docs" / "install.md").read_text().replace("_", "-").lower()
    for line in (line for line in lines if line and line[0] != "#"):
        name, equals, version = line.partition("==")
        assert equals, line
        assert version, line
        assert name.replace("_", "-").lower() in reasons, f"docs/install.md does not say why {name}"


def test_workflow_and_ci_build_everything():
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    commands = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"make test", "start test-slurm", "start docs", "make other-mpis"} <= set(commands)


def test_names_of_the_api_exist():
    listed = tomllib.loads((ROOT / "docs" / "api.toml").read_text())
    for names in listed.values():
        for name, home in names.items():
            assert hasattr(importlib.import_module(home), name), f"{home}.{name}"


def test_files_that_pages_name_exist():
    pattern = re.compile(r"`((?:tests|benchmarks|jobs|docs|tools|data|\.ci|mpiopt)/[\w./-]+)`")
    for path in DOCUMENTS:
        for name in pattern.findall(path.read_text()):
            assert (ROOT / name).exists(), f"{path.relative_to(ROOT)}: {name}"
