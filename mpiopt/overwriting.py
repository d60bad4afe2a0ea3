"""What is read is never written over."""

from __future__ import annotations

from pathlib import Path


def refuse_onto(out: str, *sources: str) -> None:
    """Refuse an output that is one of the files read, by whatever name; local.

    Raises
    ------
    ValueError
        If it is.
    """
    for source in filter(None, sources if out else ()):
        if Path(out).exists() and Path(source).exists() and Path(out).samefile(source):
            raise ValueError(f"{out} is the data file itself; give the output another name")
