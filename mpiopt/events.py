"""What happened to a run besides its rounds: a restart, the loss of a rank and its recovery, as rows of `/events`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

ALL = -1  # instead of a rank, where an event belongs to all of them


class Event(NamedTuple):
    """One event; seconds and round as in the history."""

    seconds: float
    round: int
    kind: str  # one word: "resumed", "failed", "recovered" …
    rank: int  # or ALL
    text: str  # one line for a reader


def events_to_text(events: Iterable[Event]) -> str:
    """Give events as text for a checkpoint; `events_from_text` gives back the same bits."""
    return json.dumps(list(events))


def events_from_text(text: str) -> list[Event]:
    """Give the events that `events_to_text` wrote."""
    return [Event(*event) for event in json.loads(text)]
