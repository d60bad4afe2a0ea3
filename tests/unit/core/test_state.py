import doctest
import pickle
from dataclasses import dataclass
from typing import Annotated

import pytest

from mpiopt.core import state
from mpiopt.core.state import Layout, NamedVector, Slot, layouts, pack, unpack


class Pace(NamedVector):
    speed = Slot(0)
    first = Slot(1)
    also_first = Slot(1)


@dataclass
class State:
    pace: Annotated[Pace, Layout.REPLICATED]


def test_numbers_of_a_named_vector_are_read_and_stored_by_name():
    pace = Pace.zeros()
    pace.speed, pace.first = 2, 0.5
    assert pace.tolist() == [2.0, 0.5]
    assert (pace.speed, pace.also_first) == (2.0, 0.5)
    assert type(pace.speed) is float


def test_a_named_vector_stays_one_when_it_is_copied():
    pace = Pace.zeros()
    pace.speed = 3.0
    assert pace.copy().speed == pickle.loads(pickle.dumps(pace)).speed == 3.0


def test_a_state_packs_and_refills_a_named_vector():
    before, after = State(Pace.zeros()), State(Pace.zeros())
    before.pace.speed = 7.0
    assert layouts(State) == {"pace": Layout.REPLICATED}
    unpack(after, pack(before))
    assert after.pace.speed == 7.0


def test_a_slot_may_not_hide_what_arrays_have():
    with pytest.raises((TypeError, RuntimeError)) as error:

        class _Bad(NamedVector):
            round = Slot(0)

    assert "hides an attribute of numpy arrays" in str(error.value.__cause__ or error.value)


def test_the_examples_run():
    assert doctest.testmod(state).failed == 0
