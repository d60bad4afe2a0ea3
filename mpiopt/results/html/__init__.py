"""Pages of HTML that need no network: the report of runs, and those of the studies.

`html.py` writes tags, `charts.py` says what is drawn (Plotly draws it, in the reader's browser), `document.py`
puts both and `page.css`, `page.js` and the library into one file.
"""
