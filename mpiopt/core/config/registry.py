"""Plug-ins: a frozen dataclass in a file of its own, of this package or of another one, is known by its name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, ClassVar, Self

_ABSTRACT: dict[type[Any], bool] = {}  # by class; a fit asks hundreds of times


class Plugin:
    """Root of all families of plug-ins. A family is a package whose module `base` has its abstract class.

    A plug-in is a frozen dataclass; its fields, each with a default, are its options. Its file stands in the family's
    package, or another package names its class or module in an entry point of the family's group: `mpiopt.losses` for
    the package `losses`, `mpiopt.compressors` for `compressors`, and so on.

    Attributes
    ----------
    name : str
        The name in job files and result files. It never changes.

    Examples
    --------
    >>> from mpiopt.compress.compressors.base import Compressor
    >>> "top-k" in Compressor.known()
    True
    >>> Compressor.make("top-k", {"share": 0.25}).share
    0.25
    """

    name: ClassVar[str]

    @classmethod
    def known(cls) -> dict[str, type[Self]]:
        """Return the concrete classes of the family by name, those of other packages included.

        Returns
        -------
        dict of str to type
            The classes in the order of their names.

        Raises
        ------
        ValueError
            If an entry point cannot be loaded, or is not a plug-in of the family, or if its name is taken.
        """
        package = importlib.import_module(cls.__module__.rpartition(".")[0])
        _import_members(package.__name__, tuple(package.__path__))
        group = f"mpiopt.{package.__name__.rpartition('.')[2]}"
        brought = {c: point for point in _entry_points(group, tuple(sys.path)) for c in cls._load(point)}
        concrete = [c for c in _descendants(cls) if not _is_abstract(c) and "name" in vars(c)]
        found: dict[str, type[Self]] = {}
        for c in sorted(concrete, key=lambda c: c in brought):
            if c.name in found and c in brought:
                raise ValueError(
                    f"{_origin(brought[c])}: the name {c.name!r} is taken by {found[c.name].__module__}; "
                    "remove one of the two packages, or rename the plug-in"
                )
            if c.name in found:
                raise TypeError(f"{c.__name__} and {found[c.name].__name__} share the name {c.name!r}")
            found[c.name] = c
        return dict(sorted(found.items()))

    @classmethod
    def _load(cls, point: EntryPoint) -> list[type[Any]]:
        """Return the classes of an entry point; every failure is a ValueError of one line that names the package."""
        try:
            found = point.load()
        except Exception as error:  # the import of another package may raise anything
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{_origin(point)} cannot be loaded ({cause}); repair or remove the package") from error
        inside = [found]
        if isinstance(found, ModuleType):  # its own classes, not those that it imports
            inside = [c for c in vars(found).values() if getattr(c, "__module__", "") == found.__name__]
        classes = [c for c in inside if isinstance(c, type) and issubclass(c, cls) and "name" in vars(c)]
        if not classes:
            raise ValueError(
                f"{_origin(point)} is not a {cls.__name__.lower()}: {point.value} must be, or contain, a subclass of "
                f"{cls.__module__}.{cls.__name__} with a name"
            )
        return classes

    @classmethod
    def make(cls, name: str, options: Mapping[str, object] | None = None) -> Self:
        """Make the plug-in of a name.

        Parameters
        ----------
        name : str
            The plug-in's name.
        options : mapping of str to object
            Its options; the others keep their defaults.

        Returns
        -------
        Plugin
            An instance of the plug-in's class.

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
        """Return the options of this plug-in: its dataclass fields by name."""
        return {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Return the columns of this plug-in in the table of `mpiopt list`, by heading; most families have none."""
        return {}


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the nearest of `words` as a clause for an error message, or nothing."""
    known = list(words)
    close = difflib.get_close_matches(word, known, n=1) or [
        w for w in known if word and (word.startswith(w) or w.startswith(word))
    ]
    return f" (did you mean {close[0]!r}?)" if close else ""


@functools.cache  # a fit asks for families a dozen times; reading their folders each time was half of a short fit
def _import_members(package: str, path: tuple[str, ...]) -> None:
    """Import all modules of a package, once for each process."""
    for module in pkgutil.walk_packages(path, f"{package}."):
        importlib.import_module(module.name)


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group."""
    return tuple(_all_entry_points(path).select(group=group))


@functools.cache
def _all_entry_points(path: tuple[str, ...]) -> Any:
    """Return those of all packages: for each `sys.path` they are read once, not once for each family."""
    return entry_points()


def _origin(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "an unknown package"
    return f"package {package}: the entry point {point.name!r} of {point.group}"


def _is_abstract(cls: type[Any]) -> bool:
    """Return whether a class has abstract methods, which never changes."""
    if cls not in _ABSTRACT:
        _ABSTRACT[cls] = inspect.isabstract(cls)
    return _ABSTRACT[cls]


def _descendants(cls: type[Any]) -> list[type[Any]]:
    children = cls.__subclasses__()
    return children + [d for c in children for d in _descendants(c)]
