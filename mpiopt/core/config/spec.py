"""A plug-in chosen by text: its name and, in brackets, the options that differ: `saga[variant=B,refresh=2]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mpiopt.core.config.registry import Plugin

FORM = re.compile(r"\s*([A-Za-z][\w-]*)\s*(?:\[(.*)\])?\s*")
NUMBER_OR_WORD = "float | str"  # the annotation of an option that takes both
WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class PluginSpec:
    """The name of a plug-in, or `auto`, with options.

    Parameters
    ----------
    name : str
        The plug-in's name, or "auto".
    options : mapping of str to object
        The options that are set; the others keep their defaults.

    Examples
    --------
    >>> str(PluginSpec("huber", {"delta": 0.5}))
    'huber[delta=0.5]'
    >>> parse_spec("huber[delta=0.5]").options
    {'delta': 0.5}
    """

    name: str = "auto"
    options: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        inner = ",".join(f"{key}={format_value(value)}" for key, value in self.options.items())
        return f"{self.name}[{inner}]" if inner else self.name

    def fitted(self, family: Mapping[str, type[Plugin]]) -> dict[str, object]:
        """Convert the options to the types of their defaults.

        Parameters
        ----------
        family : mapping of str to type
            The plug-ins by name, as `Plugin.known` returns them.

        Returns
        -------
        dict of str to object
            The options; unknown ones are left for `Plugin.make` to refuse.

        Raises
        ------
        ValueError
            If a value is of another type.
        """
        fields = family[self.name].options() if self.name in family else {}
        fits = {
            k: v if fields[k].type == NUMBER_OR_WORD else coerce(f"{self.name}[{k}]", v, fields[k].default)
            for k, v in self.options.items()
            if k in fields
        }
        return {**self.options, **fits}


def parse_spec(text: str) -> PluginSpec:
    """Read `name` or `name[option=value,…]`; values are numbers, true, false, none, or text."""
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not of the form name or name[option=value,option=value]")
    options: dict[str, object] = {}
    for part in filter(None, (match[2] or "").split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: {part.strip()!r} is not of the form option=value")
        options[key.strip().replace("-", "_")] = read_value(
            value.strip()
        )  # `fitted` converts it to the option's type
    return PluginSpec(match[1], options)


def name_and_options(text: str, family: Mapping[str, type[Plugin]]) -> tuple[str, dict[str, object]]:
    """Return the name and the options of `name` or `name[option=value]`, as `Plugin.make` takes them."""
    chosen = parse_spec(text)
    return chosen.name, chosen.fitted(family)


def spec_of(plugin: Plugin) -> PluginSpec:
    """Return the specification that makes this plug-in."""
    return PluginSpec(plugin.name, {name: getattr(plugin, name) for name in plugin.options()})


def read_value(text: str) -> object:
    """Read a number, a word such as true, or text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def format_value(value: object) -> str:
    """Return the text that `read_value` reads back."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def coerce(where: str, value: object, default: object) -> object:
    """Return `value` in the type of the default, an int as a float where needed; else raise ValueError."""
    if isinstance(default, str) and value is None:
        return "none"
    if isinstance(value, bool) or default is None or value is None:
        same = default is None or value is None or isinstance(default, bool)
    elif isinstance(default, float):
        same = isinstance(value, int | float)
        value = float(value) if isinstance(value, int) else value
    elif isinstance(default, int) and isinstance(value, float) and value.is_integer():
        same, value = True, int(value)
    else:
        same = isinstance(value, type(default))
    if not same:
        raise ValueError(f"{where} must be like {format_value(default)}, not {format_value(value)}")
    return value
