"""A call from Python: its ranks, and errors that name keywords where a command's would name flags."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mpiopt.comm.base import Comm
from mpiopt.comm.given import communicator
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.training.frames import NOT_OF_FRAMES

# A flag, and its value where one follows: words of the message begin after a blank, values are single words.
_FLAG = re.compile(r"--(?P<flag>[a-z][a-z0-9-]*)(?:[ =](?P<value>[^\s,;:()']+))?")
_WITH_VALUE = ("scale", "algorithm", "compress", "memory")  # keywords whose value a message may name
_OF_COLUMNS = {part.name for part in dataclasses.fields(ColumnOptions)} - {"columns", *NOT_OF_FRAMES}


@contextmanager
def called(comm: Any) -> Iterator[Comm]:
    """Provide the ranks of a call from Python; a ValueError of the block names keywords instead of flags."""
    with communicator(comm) as ranks:
        try:
            yield ranks
        except ValueError as error:
            text = in_keywords(str(error))
            if text == str(error):
                raise
            raise ValueError(text) from error


def in_keywords(text: str) -> str:
    """Return a message with keywords of Python in the place of flags: scale="standard" for --scale standard."""
    return _FLAG.sub(_keyword, text)


def _keyword(found: re.Match[str]) -> str:
    key, value = found["flag"].replace("-", "_"), found["value"]
    if key in _OF_COLUMNS and value:
        return f'columns={{"{key}": "{value}"}}'
    if key in _WITH_VALUE and value:
        return f'{key}="{value}"'
    return found[0].replace(f"--{found['flag']}", key, 1)
