"""Plug-ins: a frozen dataclass in a file of its own is all it takes to be known by name everywhere."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self


class Plugin:
    """Root of all families. A family is a package whose module `base` holds its abstract class.

    The fields of a plug-in are its options, each with a default; `name` is written into job files and result
    files and is never changed.
    """

    name: ClassVar[str]

    @classmethod
    def known(cls) -> dict[str, type[Self]]:
        """Give the family's concrete classes by name, after importing every module of its package."""
        package = importlib.import_module(cls.__module__.rpartition(".")[0])
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
        concrete = [c for c in _descendants(cls) if not inspect.isabstract(c) and "name" in vars(c)]
        found = {c.name: c for c in concrete}
        if len(found) < len(concrete):
            raise TypeError(f"two of {[c.__name__ for c in concrete]} share a name")
        return dict(sorted(found.items()))

    @classmethod
    def make(cls, name: str, options: Mapping[str, object] | None = None) -> Self:
        """Make the plug-in `name` with these options.

        Raises
        ------
        ValueError
            If the name or an option is unknown; the message lists the known ones.
        """
        family = cls.known()
        if name not in family:
            raise ValueError(
                f"unknown {cls.__name__.lower()} {name!r}{nearest(name, family)}; known: {', '.join(family)}"
            )
        fields = family[name].options()
        for key in (options or {}).keys() - fields.keys():
            listed = ", ".join(f"{f.name}={f.default!r}" for f in fields.values()) or "none"
            raise ValueError(f"{name} has no option {key!r}{nearest(key, fields)}; its options: {listed}")
        return family[name](**(options or {}))

    @classmethod
    def options(cls) -> dict[str, dataclasses.Field[Any]]:
        """Give the options of this plug-in: its dataclass fields by name."""
        return {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Give what the family's table in `mpiopt list` says of this plug-in, by heading; most families have none."""
        return {}


def nearest(word: str, words: Iterable[str]) -> str:
    """Suggest the nearest of `words`, as a clause for an error message, or nothing."""
    known = list(words)
    close = difflib.get_close_matches(word, known, n=1) or [
        w for w in known if word and (word.startswith(w) or w.startswith(word))
    ]
    return f" (did you mean {close[0]!r}?)" if close else ""


def _descendants(cls: type[Any]) -> list[type[Any]]:
    children = cls.__subclasses__()
    return children + [d for c in children for d in _descendants(c)]
