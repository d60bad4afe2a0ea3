"""The rules of the house, read from the source: who imports what, and what the package does without."""

import ast
import fnmatch
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mpiopt"
MODULES = sorted(PACKAGE.rglob("*.py"))
ALLOWED = {
    "mpi4py": ["comm/mpi/*.py", "__main__.py"],
    "h5py": [
        "core/hdf5*.py",
        "core/trial_run.py",
        "data/formats/hdf5*.py",
        "resilience/checkpoint/*.py",
        "results/result_file.py",
        "results/contents.py",
        "studies/storage.py",
        "cli/doctor_hdf5.py",
    ],
}
# The rooms, from what others build on to the start. A room imports only itself and the rooms before it.
ROOMS = [
    "core",
    "kernels",
    "comm",
    "compress",
    "data",
    "objective",
    "consensus",
    "algorithms",
    "resilience",
    "results",
    "inference",
    "training",
    "cluster",
    "studies",
    "cli",
    "__main__",
]


def dotted(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def imported(tree):
    """Return every module that is imported anywhere in the file, also for type checkers alone."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in NAMES else node.module for name in inner)
    return found


@functools.cache
def trees():
    return {path: ast.parse(path.read_text()) for path in MODULES}


@functools.cache
def edges():
    """Return the imports inside the package. `import mpiopt` alone, for its version, loads no room's content."""
    return {dotted(path): {n for n in imported(tree) & NAMES if n != "mpiopt"} for path, tree in trees().items()}


@pytest.mark.parametrize("library", ALLOWED)
def test_only_the_named_modules_import(library):
    for path, tree in trees().items():
        place = path.relative_to(PACKAGE).as_posix()
        if library in {name.partition(".")[0] for name in imported(tree)}:
            assert any(fnmatch.fnmatch(place, pattern) for pattern in ALLOWED[library]), place


def test_the_package_is_its_rooms():
    there = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert there == {*ROOMS[:-1], "__init__.py", "__main__.py", "py.typed"}


def test_imports_run_down_the_rooms():
    level = {room: i for i, room in enumerate(ROOMS)}
    for module, targets in edges().items():
        for target in targets:
            if module != "mpiopt":  # the lazy face: it names what users import
                assert level[target.split(".")[1]] <= level[module.split(".")[1]], f"{module} imports {target}"


def test_imports_go_in_no_circle():
    graph, done = edges(), set()

    def visit(module, way):
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, [*way, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_the_package_holds_no_assert_and_no_open_keywords():
    for path, tree in trees().items():
        for node in ast.walk(tree):
            place = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.Assert), place
            # scikit-learn calls set_params so; nothing else of ours has open keywords.
            assert not (isinstance(node, ast.FunctionDef) and node.args.kwarg and node.name != "set_params"), place


def test_nobody_but_main_names_the_world():
    for path, tree in trees().items():
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert path.name == "__main__.py" or "COMM_WORLD" not in names, path


def test_the_mathematics_starts_without_mpi_and_hdf5():
    """Importing the verbs' threads, the channel and all families loads neither library."""
    import subprocess
    import sys

    code = "import sys, mpiopt.comm.threads, mpiopt.compress.channel;"
    code += "import mpiopt.algorithms.base, mpiopt.objective.objective;"
    code += "sys.exit(', '.join({'mpi4py', 'h5py'} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
