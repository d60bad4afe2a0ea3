"""Reading a job: TOML text and flags to a `Job`; every mistake is one line that names the nearest valid key."""

from __future__ import annotations

import dataclasses
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, cast, get_type_hints

from mpiopt.core.config.job import Job
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec, fit, parse_spec, read_value

Tree = dict[str, Any]
# Flags that are options of the algorithm.
OF_ALGORITHM = ("local_steps", "step_size", "exchange", "round_seconds", "staleness")
SWITCHES = ("intercept", "float32", "downlink", "quiet")  # flags without a value
PLUGINS = ("loss", "algorithm", "compress", "recovery")
HELP = {
    "loss": "squared, logistic, softmax, huber[delta=1.0] …; auto: by the labels",
    "l1": "strength of the l1 penalty",
    "l2": "strength of the ridge penalty, a number or 1/N",
    "tol": "certified relative accuracy to reach",
    "max_epochs": "budget of passes over the rows",
    "max_seconds": "budget of wall time",
    "algorithm": "saga, newton, lbfgs or a baseline (mpiopt list), options as saga[variant=B]; auto: by a cost model",
    "compress": "what exchanges send: none, quantised[levels=7], rand-k[share=0.1] …; auto: by measured speeds",
    "memory": "of compressed exchanges: none, difference, error-feedback; auto: the algorithm's own",
    "downlink": "compress the way back from a sum as well",
    "local_steps": "rows that a rank visits between two exchanges (saga, local-sgd); auto: by measured speeds (saga)",
    "step_size": "a number (not newton, lbfgs); saga: theoretical, line-search, global; auto: adapted",
    "exchange": "sync, overlap, timed, async (saga)",
    "round_seconds": "of a timed round; 0: as the median rank needs (saga)",
    "staleness": "rounds that a rank of an async run may be ahead; 0: any (saga)",
    "seed": "of all randomness",
    "intercept": "fit a constant, not penalised",
    "scale": "none, standard, maxabs, unit-rows",
    "features": "fix the number of features",
    "float32": "hold the rows in float32 (sums stay float64)",
    "shards": "shuffled, contiguous, sorted-by-label, round-robin",
    "holdout": "fraction of the rows kept for testing",
    "test": "a test file",
    "format": "of the data file; auto: by suffix and content",
    "out": "result file; default: the data file's stem and .h5, here",
    "log": "file of JSON lines: each evaluation as it happens",
    "resume": "go on from the checkpoints of this result file; auto: if there are any",
    "checkpoint_every": "10min, 30s, 2h, 50rounds",
    "recovery": "where MPI lets a job outlive its ranks (ULFM): none, checkpoint, chain[every=R], stateless",
    "spares": "ranks that wait to step in for lost ones",
    "checkpoint_form": "auto, parallel (one file), sharded (a file a rank), background (sharded, while computing)",
    "io_hints": "for MPI-IO: striping_factor=8,striping_unit=4194304,cb_nodes=4 (docs/io.md)",
    "quiet": "print errors only",
}


def read(text: str, settings: Iterable[tuple[str, object]] = (), source: str = "the job file") -> Job:
    """Read a job from TOML and settings (key or key.path, value) that take precedence over it.

    Raises
    ------
    ValueError
        If the text is no TOML, a key is unknown (the nearest one is named), or a value is out of its range.
    """
    tree: Tree = {}
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source}: {error}") from None
    if "sweep" in parsed:
        raise ValueError(f"{source} has a [sweep] table: run it with mpiopt sweep")
    try:
        for key, value in leaves(parsed):
            put(tree, key, value)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    for key, value in settings:
        put(tree, key, value)
    return cast(Job, build(Job, tree))


def flags() -> dict[str, bool]:
    """Give the flags of `train`, and whether a value follows."""
    names = [name for name in (*keys(), *OF_ALGORITHM) if name != "path"]
    return {"set": True} | {name.replace("_", "-"): name not in SWITCHES for name in names}


def spread(settings: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Turn `--set key.path=value` into the setting that it stands for."""
    for flag, text in settings:
        key, equals, value = text.partition("=")
        if flag == "set" and not equals:
            raise ValueError(f"--set {text}: is not of the form key=value")
        yield (key.strip(), value.strip()) if flag == "set" else (flag, text)


def described_flags() -> str:
    """Give one line for each flag, with its default."""
    defaults = Job()
    lines = []
    for name, path in {**keys(), **{option: () for option in OF_ALGORITHM}}.items():
        value: Any = defaults
        for part in path:
            value = getattr(value, part)
        default = f" (default {value})" if path and value not in ("", None, False) else ""
        if name != "path":
            flag = f"  --{name.replace('_', '-'):<17} "
            lines += textwrap.wrap(
                flag + HELP[name] + default, 80, subsequent_indent=" " * len(flag), break_on_hyphens=False
            )
    return "\n".join([*lines, "  --set KEY=VALUE     any key of the job file"])


def keys() -> dict[str, tuple[str, ...]]:
    """Give every key of a job by its last name, with its path: {"l2": ("model", "l2"), "seed": ("seed",), …}."""
    found: dict[str, tuple[str, ...]] = {}
    for name, hint in get_type_hints(Job).items():
        if dataclasses.is_dataclass(hint) and hint is not PluginSpec:
            found |= {f.name: (name, f.name) for f in dataclasses.fields(hint)}
        else:
            found[name] = (name,)
    return found


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, object]]:
    """Give the keys of nested tables as dotted paths; a table for a plug-in stays one value."""
    for key, value in tree.items():
        path = prefix + key.replace("-", "_")
        if isinstance(value, Mapping) and path.split(".")[-1] not in PLUGINS:
            yield from leaves(value, path + ".")
        else:
            yield path, value


def put(tree: Tree, key: str, value: object) -> None:
    """Set one key of the nested tree; the key is a last name, a full path, or an option of the algorithm."""
    known = keys()
    path = tuple(key.replace("-", "_").split("."))
    if path[-1] in OF_ALGORITHM and path[:-1] in ((), ("algorithm",)):
        if (path[-1], value) == ("step_size", "auto"):  # as without it, for any algorithm
            tree.get("algorithm_options", {}).pop("step_size", None)
            return
        given = -1 if (path[-1], value) == ("local_steps", "auto") else value
        tree.setdefault("algorithm_options", {})[path[-1]] = read_value(given) if isinstance(given, str) else given
        return
    full = known.get(path[-1])
    if full is None or path not in (full, full[-1:]):
        names = [*known, *(".".join(p) for p in known.values())]
        raise ValueError(f"unknown key {key!r}{nearest(key, names)}; the keys are {', '.join(sorted(known))}")
    for part in full[:-1]:
        tree = tree.setdefault(part, {})
    tree[full[-1]] = value


def build(cls: type[Any], tree: Tree) -> Any:
    """Make the dataclass from a tree of raw values."""
    hints = get_type_hints(cls)
    chosen: dict[str, object] = {}
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[f.name]) and hints[f.name] is not PluginSpec:
            chosen[f.name] = build(hints[f.name], tree.get(f.name, {}))
        elif f.name in tree:
            chosen[f.name] = value_of(f.name, tree[f.name], hints[f.name])
    if cls is Job and "algorithm_options" in tree:
        given = cast(PluginSpec, chosen.get("algorithm", PluginSpec()))
        chosen["algorithm"] = PluginSpec(given.name, {**given.options, **tree["algorithm_options"]})
    return cls(**chosen)


def value_of(name: str, raw: object, hint: Any) -> object:
    """Give a raw value, from TOML or from a flag's text, in the type of its key."""
    if hint is PluginSpec:
        if isinstance(raw, Mapping):
            return PluginSpec(str(raw.get("name", "auto")), {k: v for k, v in raw.items() if k != "name"})
        return parse_spec(str(raw))
    if hint is str:
        return str(raw)
    value = read_value(raw) if isinstance(raw, str) else raw
    if hint == (float | str):
        return float(value) if isinstance(value, int | float) else str(value)
    kinds = {bool: ("true or false", False), int: ("a whole number", 0), float: ("a number", 0.0)}
    kind, pattern = kinds.get(hint, ("a whole number or none", 0))
    if value is None and hint not in kinds:
        return None
    try:
        return fit(name, value, pattern)
    except ValueError:
        raise ValueError(f"{name} must be {kind}, not {raw!r}") from None
