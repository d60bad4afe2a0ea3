"""Every command that a document or --help shows is run here, or read here and run elsewhere."""

import configparser
import keyword
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mpiopt.cli.help import EXIT_CODES_TOPIC, usage
from mpiopt.core.config import job_file
from mpiopt.core.config.commands import COMMANDS
from tests.cases.command import mpiopt, mpiopt_on
from tests.cases.result_files import made_run, rows
from tests.cases.tables import made as made_table
from tests.cases.tables import write as write_table
from tests.documented import DOCUMENTS, ROOT, WALKS, blocks, lines_of, mentioned, program, shown, words_of
from tests.run_elsewhere import HERE, LISTED

ANALYSIS = blocks((ROOT / "docs" / "howto" / "analysis.md").read_text())  # tests/unit/test_docs_analysis.py runs them
# tests/integration/test_walks.py, tests/slurm/test_walk.py and tools/dist.sh run these
IN_WALKS = {command for name in WALKS for command in blocks((ROOT / "docs" / "tutorial" / f"{name}.md").read_text())}
RUN = [command for command in shown() if command not in {*LISTED, *ANALYSIS, *IN_WALKS}]
NEEDED = {"report": "plotly", "plot": "matplotlib", "export": "skl2onnx", "list": "matplotlib"}


def table(path, labels, seed=0, n=120):
    """Write LIBSVM text of n rows of 4 columns; `labels` makes labels of margins."""
    x = np.random.default_rng(seed).normal(size=(n, 4))
    y = labels(x @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.5 * x[:, 3] ** 2)
    lines = [
        " ".join([f"{b}", *(f"{j}:{v!r}" for j, v in enumerate(a, 1))]) for a, b in zip(x.tolist(), y, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")


def write_adults(folder):
    """Write made-up rows of the columns of the set adult, as text without titles; a trained model; some rows more."""
    titles = tomllib.loads((ROOT / "jobs" / "examples" / "adult.toml").read_text())["data"]["columns"]["titles"]
    rng = np.random.default_rng(0)
    numbers = {"age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"}
    frame = {t: rng.integers(1, 9, 60) if t in numbers else rng.choice(["u", "v", "?"], 60) for t in titles}
    frame = pd.DataFrame(frame | {"income": np.where(frame["age"] > 4, ">50K", "<=50K")})
    frame.to_csv(folder / "adult.data", header=False, index=False)
    frame.replace("?", None).drop(columns="income").to_parquet(folder / "people.parquet")
    words = ["train", folder / "adult.data", ROOT / "jobs" / "examples" / "adult.toml", "--quiet"]
    assert mpiopt(*words, "--out", folder / "adult.h5") == 0


def signs(margin):
    return np.where(margin > 0.2, 1, -1)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with all the files that the commands name."""
    here = tmp_path_factory.mktemp("template")
    for seed, name in enumerate(("DATA", "a9a", "rcv1.svm", "TEST", "new")):
        table(here / name, signs, seed)
    table(here / "cadata", lambda margin: np.round(margin, 3))
    subprocess.run(["gzip", "rcv1.svm"], cwd=here, check=True)
    write_table(made_table(), here)
    (here / "table.csv").rename(here / "claims.csv")
    made_table(1).to_csv(here / "new.csv", index=False)
    np.savetxt(
        here / "table.csv", np.c_[signs(np.arange(9) - 4.0), np.random.default_rng(0).random((9, 3))], delimiter=","
    )
    words = ["--target", "claims", "--exposure", "years", "--drop", "id", "--gaps", "level", "--intercept", "--quiet"]
    assert mpiopt("train", here / "claims.csv", *words, "--out", here / "claims.h5") == 0
    write_adults(here)
    words = ["--target", "wins", "--drop", "id,claims", "--gaps", "level"]
    assert mpiopt("convert", here / "parts", here / "wins.h5", *words) == 0
    (here / "runs" / "first.ckpt").mkdir(parents=True)
    (here / "jobs").symlink_to(ROOT / "jobs")
    for name in ("RUN", "A", "B", "runs/a", "runs/b", "runs/first", "run"):
        made_run(str(here / f"{name}.h5"), rows(0.5), f"seed = {len(name)}")
    for data in ("DATA", "a9a"):
        words = ["train", str(here / data), "--quiet", "--out", str(here / f"{data}.h5")]
        assert mpiopt(*words) == 0
    assert mpiopt("convert", str(here / "a9a"), str(here / "rcv1.h5")) == 0
    for name, plain in (("train.toml", "job.toml"), ("sweep.toml", "sweep.toml")):  # --help has them in the folder
        shutil.copy(ROOT / "jobs" / name, here / plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert mpiopt("sweep", "sweep.toml", "--quiet") == 0
    for name in ("sbatch", "squeue"):
        (here / name).write_text("#!/bin/sh\necho 7\n" if name == "sbatch" else "#!/bin/sh\n")
        (here / name).chmod(0o755)
    return here


@pytest.fixture
def here(tmp_path, template, monkeypatch):
    shutil.copytree(template, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", f"{tmp_path / 'here'}:/usr/bin:/bin")
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"


@pytest.mark.parametrize("command", RUN, ids=lambda command: command.partition("\n")[0])
def test_it_runs(command, here, capsys):
    ranks, words = words_of(command)
    if words[0] in NEEDED and ("--plot" in words or words[0] != "list") and not find_spec(NEEDED[words[0]]):
        pytest.skip(f"there is no {NEEDED[words[0]]}")
    if words[0] == "launch":
        from mpiopt.cluster.launch_args import read

        request = read(words[1:])
        ranks, words = request.ranks, list(request.command)
    if words[0] in ("train", "convert"):
        words = [*words, "--overwrite"]  # the folder has results of all names; a reader's has none
    codes = mpiopt_on(ranks, *words)
    told = capsys.readouterr()
    assert codes == {3 if "--max-epochs" in words else 0}, told.err
    assert told.out or words[0] == "halt"
    for flag in ("--out", "--plot", "--figure"):
        if flag in words:
            assert (here / words[words.index(flag) + 1]).stat().st_size > 0


@pytest.mark.parametrize("command", sorted(LISTED))
def test_what_is_not_run_here_is_shown_there_is_such_a_thing_and_a_test_runs_it(command):
    assert command in {*shown(), *mentioned()}, "it is in no document any more"
    assert LISTED[command] == HERE or (ROOT / LISTED[command]).exists()
    assert exists(command), "there is no such thing"


@pytest.mark.parametrize("command", [c for c in mentioned() if c not in LISTED])
def test_what_running_text_mentions_is_there(command):
    assert program(command) == "mpiopt", "run it in a block, or list it above with the test that runs it"
    _, words = words_of(command)
    if words[0].startswith("-") or words[0] == "COMMAND":
        return
    if words[0] == "help":
        assert not words[1:] or words[1] in {*COMMANDS, EXIT_CODES_TOPIC}
        return
    assert words[0] in COMMANDS
    known = set(re.findall(r"--([a-z][\w-]*)", usage([words[0]]))) | set(job_file.flags()) | {"help"}
    source = Path(find_spec(COMMANDS[words[0]].module).origin).read_text()
    known |= {name.replace("_", "-") for name in re.findall(r"^    (\w+):", source, re.M)}
    assert {word[2:] for word in words if word.startswith("--")} <= known


def test_no_program_is_overlooked():
    """What stands in a block and is not taken for a command begins with nothing that a shell would find."""
    for path in DOCUMENTS:
        text = path.read_text()
        for line in set(lines_of(text)) - set(blocks(text)):
            word = line.split()[0]
            assert keyword.iskeyword(word) or not shutil.which(word), f"{path.name}: {line}"


def exists(command):
    """Say whether what a command names is there: a target, a module, an extra, a file, a job that can be read."""
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z][A-Z0-9_]*=", word)]
    if words[:2] == ["mpirun", "-n"] and words[3] == "python":
        words = words[3:]
    elif words_of(command) is not None:
        return readable(*words_of(command))
    if words[0] == "make":
        return is_target(words[1])
    if words[0] == "pip":
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        extras = words[-1][7:-1].split(",")
        return words[-1] in (".", "pre-commit", "mpich") or {*extras} <= {*setup["options.extras_require"]}
    if words[0] == "git":
        return f"url = {words[-1]}\n" in (ROOT / "setup.cfg").read_text()
    paths = [word for word in words if word.startswith(("tests/", "jobs/train", "docs/examples/"))]
    modules = [words[words.index("-m") + 1]] if "-m" in words else []
    found = [find_spec(name) for name in modules]
    flags = [word for word in words if word.startswith("--") and found and found[0].name != "pytest"]
    return all((ROOT / path).exists() for path in paths) and all(
        spec is not None and all(re.search(rf"\b{flag[2:]}\b", Path(spec.origin).read_text()) for flag in flags)
        for spec in found
    )


def readable(ranks, words):
    if words[0] == "study":
        from mpiopt.studies.command import read

        return read(ROOT / words[1]) is not None
    if words[0] == "serve":
        from mpiopt.studies.parameter_server.serve import chosen

        return chosen([str(ROOT / words[1]), *words[2:]], ranks) is not None
    return words[0] in COMMANDS


def is_target(name):
    targets = re.findall(r"^([\w%-]+):", (ROOT / "Makefile").read_text(), re.M)
    if name.startswith("study-"):
        return "study-%" in targets and bool(list((ROOT / "jobs").glob(f"{name[6:]}*.toml")))
    return name in targets or (name[:5] == "test-" and name[5:].isdigit())


def test_variables_of_make_are_those_of_the_makefile():
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/install.md"))
    for name in re.findall(r"`([A-Z]+)=", text):
        assert re.search(
            rf"\b{name}\b", (ROOT / "Makefile").read_text() + (ROOT / "tools" / "setup.sh").read_text()
        ), name


@pytest.mark.parametrize(("page", "result"), [("README.md", "fit"), ("docs/tutorial/python.md", "model")])
def test_python_in_a_page(page, result, monkeypatch, capsys):
    """On one rank: where MPI has no world there is none."""
    world = types.SimpleNamespace(rank=0)
    monkeypatch.setitem(sys.modules, "mpi4py", types.SimpleNamespace(MPI=types.SimpleNamespace(COMM_WORLD=world)))
    code = re.search(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)[1]
    names = {}
    exec(code.replace("comm, tol", "tol"), names)
    assert result in names
    assert "True" in capsys.readouterr().out or result == "model"


def test_python_in_the_page_of_tables(here):
    text, names = (ROOT / "docs" / "howto" / "tables.md").read_text(), {}
    exec(re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1], names)
    assert "city[Bonn]" in names["names"]


def test_python_in_the_page_of_files(here):
    import h5py

    pandas = pytest.importorskip("pandas")
    text = (ROOT / "docs" / "reference" / "file-formats.md").read_text()
    names = {"h5py": h5py, "pandas": pandas}
    exec(re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1], names)
    assert names["history"].certificate.iloc[-1] < 1e-6


def test_every_link_leads_somewhere():
    """Pages that no index names are warnings of the site, and so errors; it makes reference/api itself."""
    for path in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
            known = link.startswith("https://") or (path.parent / link).exists()
            assert known or "reference/api/" in link or path.name == "contributing.md", f"{path.name}: {link}"


NUMBER = re.compile(r"(?<![\w.])\d[\d.]*\d(?=x?(?:\W|$))")  # of two digits or more, in no word; 9.3x is 9.3


def test_figures_by_which_to_choose_are_those_of_the_pages_that_measured_them():
    told = "\n".join(path.read_text() for path in DOCUMENTS if path.name != "choosing.md")
    known = set(NUMBER.findall(told))
    cells = [
        line.split(" | ")[2]
        for line in (ROOT / "docs" / "howto" / "choosing.md").read_text().splitlines()
        if line[:2] == "| "
    ]
    found = {number for cell in cells for number in NUMBER.findall(re.sub(r"\(\S+\.md\)", "", cell))}
    assert len(found) > 50
    assert sorted(found - known) == []
