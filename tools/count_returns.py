"""Count how often a reader who follows one value through the calls comes back to a file that he had left.

    python tools/count_returns.py mpiopt/algorithms/saga/saga.py Saga.step state
    python tools/count_returns.py mpiopt/data/dataset.py prepare path --callers

Read from the source alone, nothing is run. The walk starts at a function and follows a parameter: in the order of the
text it enters each function that gets the value, or a part of it such as `state.w`, once. A call of a method is
followed into every class of the package that has a method of this name with as many arguments. The files of the
entered functions, neighbours alike counted once, are the stays; returns = stays − different files.

With --callers the walk also comes back to the caller after each call, as a reader does, and the choice among several
classes is one step: a method that more than one class has is not entered.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Function(NamedTuple):
    """A function of the package."""

    path: Path
    owner: str  # class, or ""
    node: ast.FunctionDef

    @property
    def parameters(self) -> list[str]:
        """Names of all parameters, without self and cls."""
        names = [a.arg for a in (*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs)]
        return names[1:] if names[:1] in (["self"], ["cls"]) else names


class Source:
    """All functions of a package, by the ways in which a call may name them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plain: dict[tuple[Path, str], Function] = {}
        self.methods: dict[str, list[Function]] = {}
        self.imports: dict[Path, dict[str, tuple[str, str]]] = {}
        self.trees: dict[Path, ast.Module] = {}
        self.classes: dict[tuple[Path, str], ast.ClassDef] = {}
        for path in sorted((root / "mpiopt").rglob("*.py")):
            tree = self.trees[path] = ast.parse(path.read_text())
            self._functions(path, tree)
            self.imports[path] = {
                alias.asname or alias.name: (node.module or "", alias.name)
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }

    def _functions(self, path: Path, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                self.plain[path, node.name] = Function(path, "", node)
            if isinstance(node, ast.ClassDef):
                self.classes[path, node.name] = node
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef):
                        found = Function(path, node.name, inner)
                        self.plain[path, f"{node.name}.{inner.name}"] = found
                        self.methods.setdefault(inner.name, []).append(found)

    def file(self, module: str) -> Path:
        """Return the file of a module."""
        path = self.root.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def called(self, call: ast.Call, inside: Function) -> list[Function]:
        """Return the functions that a call may enter."""
        known, function = self.imports[inside.path], call.func
        if isinstance(function, ast.Name):
            module, name = known.get(function.id, ("", ""))
            path = self.file(module) if module else inside.path
            return self._of(path, name or function.id)
        if not isinstance(function, ast.Attribute):
            return []
        if isinstance(function.value, ast.Name):
            base = function.value.id
            if base in known:
                module, name = known[base]
                here = self._of(self.file(f"{module}.{name}"), function.attr)
                return here or self._of(self.file(module), f"{name}.{function.attr}")
            if base == "self":
                own = self.plain.get((inside.path, f"{inside.owner}.{function.attr}"))
                if own:
                    return [own]
        given = len(call.args) + len(call.keywords)
        return [m for m in self.methods.get(function.attr, []) if given <= len(m.parameters) and _real(m.node)]

    def _of(self, path: Path, name: str) -> list[Function]:
        found = self.plain.get((path, name)) or self.plain.get((path, f"{name}.__init__"))
        return [found] if found else []


def _real(node: ast.FunctionDef) -> bool:
    """Say whether a function does anything: those of protocols do not."""
    body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    return any(not isinstance(n, ast.Pass | ast.Raise) for n in body)


def _fits(target: Function, parameter: str, value: str) -> bool:
    """Say whether a parameter may be the value: of a method, which was found by its name alone, if named alike."""
    return not target.owner or parameter == value


def _calls(node: ast.AST) -> list[ast.Call]:
    """Return the calls in a function in the order of the text: an argument's before the call itself."""
    found = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
    return sorted(found, key=lambda n: (n.end_lineno or 0, n.end_col_offset or 0))


def walk(source: Source, start: Function, value: str) -> list[Function]:
    """Return the functions in the order in which the walk enters them."""
    entered, seen = [], set()

    def enter(function: Function, name: str) -> None:
        if (function.path, function.owner, function.node.name) in seen:
            return
        seen.add((function.path, function.owner, function.node.name))
        entered.append(function)
        for call in _calls(function.node):
            for place, argument in enumerate(call.args):
                if isinstance(argument, ast.Name) and argument.id == name:
                    for target in source.called(call, function):
                        if place < len(target.parameters) and _fits(target, target.parameters[place], name):
                            enter(target, target.parameters[place])
            for keyword in call.keywords:
                if isinstance(keyword.value, ast.Name) and keyword.value.id == name:
                    for target in source.called(call, function):
                        if keyword.arg in target.parameters:
                            enter(target, keyword.arg)

    enter(start, value)
    return entered


def walk_with_callers(source: Source, start: Function, value: str) -> list[Function]:
    """Return the functions on the way of a reader who comes back to the caller after each call."""
    way, seen = [start], {start}

    def enter(function: Function, name: str) -> None:
        outside = {a.asname or a.name for n in ast.walk(source.trees[function.path]) for a in _imported_modules(n)}
        for call in _calls(function.node):
            arguments = [*enumerate(call.args), *((k.arg, k.value) for k in call.keywords)]
            passed = [
                place for place, a in arguments if name in {n.id for n in ast.walk(a) if isinstance(n, ast.Name)}
            ]
            targets = source.called(call, function) if passed else []
            base = call.func.value if isinstance(call.func, ast.Attribute) else None
            named = isinstance(base, ast.Name) and (base.id == "self" or base.id in source.imports[function.path])
            if (isinstance(base, ast.Name) and base.id in outside) or (base and not named and len(targets) != 1):
                continue
            for target in targets:
                place = passed[0]
                parameter = target.parameters[place] if isinstance(place, int) else str(place)
                if target not in seen:
                    seen.add(target)
                    way.append(target)
                    enter(target, parameter)
                    way.append(function)

    enter(start, value)
    return way


def _names(node: ast.AST) -> set[str]:
    """Return the names in an expression."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _imported_modules(node: ast.AST) -> list[ast.alias]:
    """Return the aliases of `import x`."""
    return node.names if isinstance(node, ast.Import) else []


def stays(entered: list[Function]) -> list[Path]:
    """Return the files on the way, neighbours alike counted once."""
    files = [function.path for function in entered]
    return [path for i, path in enumerate(files) if i == 0 or files[i - 1] != path]


def main(words: list[str]) -> int:
    """Print the way of one value, and the counts."""
    callers = "--callers" in words
    words = [word for word in words if word != "--callers"]
    if len(words) not in (3, 4):
        print(__doc__)
        return 2
    root = Path(words[3]) if len(words) > 3 else ROOT
    source, path = Source(root), root / words[0]
    entered = (walk_with_callers if callers else walk)(source, source.plain[path, words[1]], words[2])
    for function in entered:
        print(f"{function.path.relative_to(root)}: {function.owner and function.owner + '.'}{function.node.name}")
    files = stays(entered)
    print(f"{len(files)} stays, {len(set(files))} files, {len(files) - len(set(files))} returns")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
