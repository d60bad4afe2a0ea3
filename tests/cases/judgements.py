"""Judgements without fits, for tests of the standing run: two seeds do not come to one."""

import os
import time

from tests.fuzz.draw import draw
from tests.fuzz.judge import RIGHT, Judgement

DIES, HANGS = 3, 5


def made_up(seed):
    """Return a judgement; the process dies or hangs at two seeds."""
    if seed == DIES:
        os._exit(9)
    if seed == HANGS:
        time.sleep(3600)
    return Judgement(draw(seed), RIGHT, "made up", certificate=1e-7, kind="duality gap").light()
