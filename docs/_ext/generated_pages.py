"""A Sphinx extension: tables of commands, job-file keys and plug-ins, and the API pages, are made from the code.

A page asks for them with the directives `mpiopt-commands`, `mpiopt-job-keys` and `mpiopt-plugins`; `docs/api.toml`
lists the public names, and each gets a page in `docs/reference/api/`.
"""

import dataclasses
import importlib
import re
import shutil
import tomllib
from pathlib import Path
from typing import get_type_hints

from docutils.parsers.rst import Parser
from docutils.utils import new_document
from sphinx.ext.autodoc.mock import mock
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).resolve().parent.parent
STAND_INS = ["mpi4py", "numba", "llvmlite"]
LIST = tomllib.loads((HERE / "api.toml").read_text())


def module(name):
    """Import a module of mpiopt with stand-ins for the libraries."""
    with mock(STAND_INS):
        return importlib.import_module(name)


class Generated(SphinxDirective):
    """Parse lines of reStructuredText in the place of the directive."""

    def run(self):
        """Return the nodes of `lines`."""
        self.env.note_reread()
        document = new_document(self.env.docname, self.state.document.settings)
        Parser().parse("\n".join(self.lines()), document)
        return document.children

    def lines(self):
        """Return lines of reStructuredText."""
        raise NotImplementedError


class Commands(Generated):
    """Each command: what it does, its flags, examples."""

    def lines(self):
        """Return a section for each command, with the text of its `--help`."""
        with mock(STAND_INS):
            help_texts = module("mpiopt.cli.help")
            for name in help_texts.COMMANDS:
                title = f"mpiopt {name}"
                text = help_texts.usage([name])
                first, _, rest = text.partition("\n")
                yield from [
                    title,
                    "-" * len(title),
                    "",
                    first[:1].upper() + first[1:] + ".",
                    "",
                    ".. code-block:: none",
                ]
                yield from ["", *(f"   {line}" for line in rest.strip("\n").splitlines()), ""]


class JobKeys(Generated):
    """Every key of a job file: its table, type, default and meaning."""

    def lines(self):
        """Return one table for the top of the file and one for each of its tables."""
        job, job_file = module("mpiopt.core.config.job"), module("mpiopt.core.config.job_file")
        top, tables = [], {}
        for field in dataclasses.fields(job.Job):
            hint, value = get_type_hints(job.Job)[field.name], getattr(job.Job(), field.name)
            if (
                dataclasses.is_dataclass(hint)
                and hasattr(value, "__post_init__")
                and field.name not in job_file.PLUGINS
            ):
                hints = get_type_hints(hint)
                tables[field.name] = [
                    (f.name, hints[f.name], getattr(value, f.name)) for f in dataclasses.fields(hint)
                ]
            else:
                top.append((field.name, hint, value))
        yield from self.table("Top of the file", top, job_file.help_texts())
        for name, rows in tables.items():
            yield from self.table(f"Table [{name}]", rows, job_file.help_texts())
        options = [(name, None, None) for name in job_file.OF_ALGORITHM]
        yield from self.table("Options of the algorithm", options, job_file.help_texts())

    def table(self, title, rows, help_texts):
        """Return one table of keys."""
        yield from [
            "",
            f".. rubric:: {title}",
            "",
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 20 20 20 40",
            "",
        ]
        yield from ["   * - key", "     - type", "     - default", "     - meaning"]
        for name, hint, value in rows:
            kind = typed(hint) if hint is not None else "number or text"
            default = "" if hint is None else shown(value)
            meaning = help_texts[name]
            yield from [f"   * - ``{name}``", f"     - {kind}", f"     - {default}", f"     - {escaped(meaning)}"]
        yield ""


class Plugins(Generated):
    """Every plug-in of every family, with its options."""

    def lines(self):
        """Return a table for each family."""
        with mock(STAND_INS):
            listing = module("mpiopt.cli.list")
            for family, (home, cls) in listing.FAMILIES.items():
                members = getattr(importlib.import_module(home), cls).known()
                yield from [
                    "",
                    f".. rubric:: {family}",
                    "",
                    ".. list-table::",
                    "   :header-rows: 1",
                    "   :widths: 20 50 30",
                    "",
                ]
                yield from ["   * - name", "     - what it is", "     - options and defaults"]
                for name, kind in members.items():
                    first = (kind.__doc__ or "").strip().partition("\n")[0]
                    options = ", ".join(f"``{f.name}={f.default}``" for f in kind.options().values())
                    yield from [f"   * - ``{name}``", f"     - {escaped(first)}", f"     - {options}"]
                yield ""


def typed(hint):
    """Return a type in words."""
    words = {"str": "text", "bool": "true or false", "int": "whole number", "float": "number"}
    name = getattr(hint, "__name__", str(hint))
    if name in ("Selection", "PluginSpec"):
        return "plug-in"
    return words.get(
        name,
        str(hint)
        .replace("str", "text")
        .replace("float", "number")
        .replace("int", "whole number")
        .replace(" | ", " or "),
    )


def shown(value):
    """Return a default as it is typed in a job file."""
    if isinstance(value, bool):
        return f"``{str(value).lower()}``"
    if isinstance(value, int | float):
        return f"``{value!r}``"
    return "" if value is None or str(value) == "" else f'``"{value}"``'


def escaped(text):
    """Escape what reStructuredText would take for markup."""
    for character in "\\*`_|":
        text = text.replace(character, "\\" + character)
    return text


def write_api_pages(app):
    """Write a page for each public name, and the list of them, into docs/reference/api/."""
    folder = HERE / "reference" / "api"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    index = [
        "Python API",
        "==========",
        "",
        "These names are public: they follow the :ref:`deprecation policy <deprecation-policy>`.",
        "",
    ]
    for title, names in LIST.items():
        index += [title, "-" * len(title), "", ".. autosummary::", "   :nosignatures:", ""]
        index += [f"   {home}.{name}" for name, home in names.items()] + [""]
        index += [".. toctree::", "   :hidden:", "", *(f"   {page(name, home)}" for name, home in names.items()), ""]
        for name, home in names.items():
            (folder / f"{page(name, home)}.rst").write_text("\n".join(of_one(name, home)) + "\n")
    (folder / "index.rst").write_text("\n".join(index))


def page(name, home):
    """Return the file name of a public name; two names may differ in case alone."""
    kind = "class" if name[0].isupper() else "function"
    return "-".join([kind, *home.split(".")[1:], name])


def of_one(name, home):
    """Return the page of one public name."""
    full = f"{home}.{name}"
    title = full if home in ("mpiopt", "mpiopt.results") else name
    kind = "autoclass" if name[0].isupper() else "autofunction"
    members = ["   :members:"] if kind == "autoclass" else []
    return [title, "=" * len(title), "", f".. {kind}:: {full}", *members]


def escape_mathematics(app, what, name, obj, options, lines):
    """Escape |x| and trailing underscores (coef_) in docstrings, outside of code: they would be taken for markup."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", ".. ")):
            parts = line.split("`")
            parts[::2] = [re.sub(r"(?<!\\)\|", r"\|", re.sub(r"(\w)_(?!\w)", r"\1\_", part)) for part in parts[::2]]
            lines[i] = "`".join(parts)


def setup(app):
    """Register the directives, and make the API pages before pages are looked for."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("mpiopt-commands", Commands)
    app.add_directive("mpiopt-job-keys", JobKeys)
    app.add_directive("mpiopt-plugins", Plugins)
    app.connect("autodoc-process-docstring", escape_mathematics, priority=900)  # after numpydoc
    app.connect("config-inited", lambda app, config: write_api_pages(app))
    return {"version": "1", "parallel_read_safe": True}
