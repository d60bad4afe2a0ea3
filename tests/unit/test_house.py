"""The rules of the house, read from the source: who imports what, and what the package does without."""

import ast
import fnmatch
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mpiopt"
MODULES = sorted(PACKAGE.rglob("*.py"))
ALLOWED = {
    "mpi4py": ["comm/mpi*.py", "__main__.py"],
    "h5py": ["hdf5*.py", "hdf5/*.py", "datasets/hdf5*.py"],
}
# The line of DESIGN.md from its end (what others build on) to its start; a room imports only what stands before it
# or with it. Rooms that are not listed may stand anywhere, but in no circle.
LINE = [
    ["plugin", "randomness", "shard", "state"],
    ["comm", "crew"],
    ["channel", "losses", "penalties", "datasets"],
    ["dataset", "objective"],
    ["algorithms", "certificate"],
    ["recorder", "signals"],
    ["hdf5"],
    ["runner", "report"],
    ["recovery", "keeper"],
    ["cli", "doctor"],
    ["__main__"],
]


def dotted(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def imported(tree):
    """Give every module that is imported, anywhere in the file but for type checkers alone."""
    return set(_imports(tree))


def _imports(tree):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield from _imports(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else node.module for name in inner)


@functools.cache
def trees():
    return {path: ast.parse(path.read_text()) for path in MODULES}


@functools.cache
def edges():
    """Give the imports inside the package; without those of the package itself (its version).

    And without those of a family's members by the family, which it finds by name when it is asked for them.
    """
    return {
        dotted(path): {
            n for n in imported(tree) & NAMES if n != "mpiopt" and not f"{n}.".startswith(f"{dotted(path)}.")
        }
        for path, tree in trees().items()
        if path != PACKAGE / "__init__.py"
    }


@pytest.mark.parametrize("library", ALLOWED)
def test_only_the_named_modules_import(library):
    for path, tree in trees().items():
        place = path.relative_to(PACKAGE).as_posix()
        if library in {name.partition(".")[0] for name in imported(tree)}:
            assert any(fnmatch.fnmatch(place, pattern) for pattern in ALLOWED[library]), place


def test_imports_run_along_the_line():
    level = {f"mpiopt.{room}": i for i, rooms in enumerate(LINE) for room in rooms}
    for module, targets in edges().items():
        room = ".".join(module.split(".")[:2])
        for target in targets:
            other = ".".join(target.split(".")[:2])
            if room in level and other in level:
                assert level[other] <= level[room], f"{module} imports {target}"


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

    code = "import sys, mpiopt.comm.threads, mpiopt.channel, mpiopt.algorithms, mpiopt.objective, mpiopt.losses;"
    code += "sys.exit(', '.join({'mpi4py', 'h5py'} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
