"""HTML pages that need no network: the report about runs, and the pages of the studies.

`html.py` makes elements, `charts.py` describes what Plotly draws in the reader's browser, and `document.py` puts both
into one file, with `page.css`, `page.js` and the library.
"""
