"""The configuration of the documentation site; `make docs` builds it, without MPI or numba."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]

project = "mpiopt"
author = "The mpiopt developers"
copyright = "2026, the mpiopt developers"
release = version = re.search(r'^__version__ = "(.+)"', (ROOT / "mpiopt" / "__init__.py").read_text(), re.M)[1]

extensions = [
    "generated_pages",  # docs/_ext: commands, job-file keys, plug-ins and the list of the API, from the code
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_ext", "examples/README.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "index"
language = "en"
nitpicky = True
# Types in signatures (arrays, protocols, private classes) have no page of their own.
nitpick_ignore_regex = [("py:.*", ".*")]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
highlight_language = "none"

autodoc_mock_imports = ["mpi4py", "numba", "llvmlite"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False  # generated_pages writes the pages of the public names
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = f"mpiopt {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {page: [] for page in ("install", "comparison", "limitations", "changelog", "contributing")}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "icon_links": [{"name": "Source", "url": "https://github.com/mpiopt/mpiopt", "icon": "fa-brands fa-github"}],
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_exclude = ".linenos, .gp, .go"
