"""What a check of `mpiopt doctor` found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """The outcome of one check on one rank."""

    subject: str
    found: str
    advice: str = ""  # what to do; "" if there is no problem
