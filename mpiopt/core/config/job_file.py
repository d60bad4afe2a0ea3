"""Read a job from TOML text and flags; every mistake is one line that names the nearest valid key."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, cast, get_type_hints

from mpiopt.core.config.columns import ColumnOptions, Names, split_names
from mpiopt.core.config.job import DataOptions, Job, Model, Stopping
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec, coerce, parse_spec, read_value
from mpiopt.core.durations import read_duration

Tree = dict[str, Any]
# Options of the algorithm that are keys and flags of their own, and their help.
OF_ALGORITHM = {
    "local_steps": "rows that a rank visits between two exchanges (saga, local-sgd); auto: by measured speeds (saga)",
    "step_size": "a number (not newton, newton-cg, lbfgs); saga: theoretical, line-search, global; auto: adapted",
    "exchange": "when the ranks exchange: sync, overlap, timed, async (saga)",
    "round_seconds": "seconds of a timed round; 0: the time that the median rank needs (saga)",
    "staleness": "rounds that a rank of an async run may be ahead; 0: any (saga)",
}
SWITCHES = ("intercept", "nonnegative", "float32", "downlink", "overwrite", "quiet")  # flags without a value
PLUGINS = ("loss", "algorithm", "compress", "recovery")
APART = {"sweep": "sweep", "selection": "path"}  # tables that are not of a job, and the commands that read them
HELP_WIDTH = 80  # columns


def read(text: str, settings: Iterable[tuple[str, object]] = (), source: str = "the job file", own: str = "") -> Job:
    """Read a job from TOML, and settings (key or key.path, value) that take precedence over it.

    The table `own` is left to the caller.

    Raises
    ------
    ValueError
        If the text is not TOML, a key is unknown (the nearest one is named), or a value is out of its range.
    """
    tree: Tree = {}
    parsed = _parsed(text, source)
    parsed.pop(own, None)
    for table, command in APART.items():
        if table in parsed:
            raise ValueError(f"{source} has a [{table}] table: run it with mpiopt {command}")
    try:
        for key, value in flat_items(parsed):
            _set_key(tree, key, value)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    for key, value in settings:
        _set_key(tree, key, value)
    return cast(Job, _build(Job, tree))


def table_of(text: str, name: str, source: str) -> Tree:
    """Return a table of a job file that is not of the job; ValueError if it is none."""
    found = _parsed(text, source).get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{source}: {name} must be a table, [{name}]")
    return found


def _parsed(text: str, source: str) -> Tree:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source}: {error}") from None


def flags() -> dict[str, bool]:
    """Return the flags of `train`, and whether a value follows."""
    names = [name for name in (*keys(), *OF_ALGORITHM) if name != "path"]
    return {"set": True} | {name.replace("_", "-"): name not in SWITCHES for name in names}


def expand_set(settings: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Replace `--set key.path=value` by the setting that it stands for."""
    for flag, text in settings:
        key, equals, value = text.partition("=")
        if flag == "set" and not equals:
            raise ValueError(f"--set must be like key=value, not {text!r}")
        yield (key.strip(), value.strip()) if flag == "set" else (flag, text)


@functools.cache
def help_texts() -> dict[str, str]:
    """Return the help of every key: the text under its field, and that of the options of the algorithm."""
    found = dict(OF_ALGORITHM)
    for cls in (Job, DataOptions, ColumnOptions, Model, Stopping):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        for node, text in pairwise(cast(ast.ClassDef, body).body):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[cast(ast.Name, node.target).id] = str(text.value.value)
    return found


def described_flags() -> str:
    """Return one line for each flag, with its default."""
    lines, texts = [], help_texts()
    for name, path in {**keys(), **dict.fromkeys(OF_ALGORITHM, ())}.items():
        value: Any = Job()
        for part in path:
            value = getattr(value, part)
        value = ",".join(value) if isinstance(value, tuple) else value
        default = f" (default {value})" if path and value not in ("", None, False) else ""
        if name != "path":
            flag = f"  --{name.replace('_', '-'):<17} "
            lines += textwrap.wrap(
                flag + texts[name] + default, HELP_WIDTH, subsequent_indent=" " * len(flag), break_on_hyphens=False
            )
    return "\n".join([*lines, "  --set KEY=VALUE     any key of the job file"])


@functools.cache
def keys() -> Mapping[str, tuple[str, ...]]:
    """Return every key of a job by its last name, with its path: {"l2": ("model", "l2"), "seed": ("seed",), …}."""
    return _keys_of(Job, ())


def _keys_of(cls: type[Any], above: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    hints = get_type_hints(cls)
    for f in dataclasses.fields(cls):
        path, hint = (*above, f.name), hints[f.name]
        if dataclasses.is_dataclass(hint) and hint is not PluginSpec:
            found |= _keys_of(cast(type[Any], hint), path)
        else:
            found[f.name] = path
    return found


def flat_items(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yield the keys of nested tables as dotted paths, with their values; a plug-in's table stays one value."""
    for key, value in tree.items():
        path = prefix + key.replace("-", "_")
        if isinstance(value, Mapping) and path.split(".")[-1] not in PLUGINS:
            yield from flat_items(value, path + ".")
        else:
            yield path, value


def _set_key(tree: Tree, key: str, value: object) -> None:
    """Set one key of the nested tree; the key is a last name, a full path, or an option of the algorithm."""
    known = keys()
    path = tuple(key.replace("-", "_").split("."))
    if path[-1] in OF_ALGORITHM and path[:-1] in ((), ("algorithm",)):
        if (path[-1], value) == ("step_size", "auto"):  # the same as no step size, for any algorithm
            tree.get("algorithm_options", {}).pop("step_size", None)
            return
        chosen = -1 if (path[-1], value) == ("local_steps", "auto") else value
        tree.setdefault("algorithm_options", {})[path[-1]] = read_value(chosen) if isinstance(chosen, str) else chosen
        return
    full = known.get(path[-1])
    if full is None or path not in (full, full[-1:]):
        names = [*known, *(".".join(p) for p in known.values())]
        raise ValueError(f"unknown key {key!r}{nearest(key, names)}; the keys are {', '.join(sorted(known))}")
    for part in full[:-1]:
        tree = tree.setdefault(part, {})
    tree[full[-1]] = value


def _build(cls: type[Any], tree: Tree) -> Any:
    """Make the dataclass from a tree of raw values."""
    hints = get_type_hints(cls)
    chosen: dict[str, object] = {}
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[f.name]) and hints[f.name] is not PluginSpec:
            chosen[f.name] = _build(hints[f.name], tree.get(f.name, {}))
        elif f.name in tree:
            chosen[f.name] = value_of(f.name, tree[f.name], hints[f.name])
    if cls is Job and "algorithm_options" in tree:
        spec = cast(PluginSpec, chosen.get("algorithm", PluginSpec()))
        chosen["algorithm"] = PluginSpec(spec.name, {**spec.options, **tree["algorithm_options"]})
    return cls(**chosen)


def value_of(name: str, raw: object, hint: Any) -> object:
    """Return a raw value, from TOML or from a flag's text, in the type of its key."""
    if hint is PluginSpec:
        if isinstance(raw, Mapping):
            return PluginSpec(str(raw.get("name", "auto")), {k: v for k, v in raw.items() if k != "name"})
        return parse_spec(str(raw))
    if hint is str:
        return str(raw)
    if hint == Names:
        return tuple(map(str, raw)) if isinstance(raw, list | tuple) else split_names(str(raw))
    value = read_value(raw) if isinstance(raw, str) else raw
    if hint is float and isinstance(value, str) and name.endswith("seconds"):
        value = read_duration(value)
    if hint == (float | str):
        return float(value) if isinstance(value, int | float) else str(value)
    kinds = {bool: ("true or false", False), int: ("a whole number", 0), float: ("a number", 0.0)}
    kind, pattern = kinds.get(hint, ("a whole number or none", 0))
    if value is None and hint not in kinds:
        return None
    try:
        return coerce(name, value, pattern)
    except ValueError:
        raise ValueError(f"{name} must be {kind}, not {raw!r}") from None
