"""Checkpoints store some numbers of a state as one vector; the place of each number never changes."""

from mpiopt.algorithms.base import Algorithm
from mpiopt.core.state import NamedVector, Slot

# Class: the names of the places 0, 1, 2 …; two names of one place are joined by |. Compared with revision 9df78b6.
STORED = {
    "AdgdVector": "step ratio filtered",
    "CompressedGradientControl": "gamma unrecorded",
    "CompressedSgdControl": "gamma done",
    "DlasControl": "largest begun",
    "GossipControl": "gamma since epochs",
    "LbfgsControl": "sample_factor decrement unrecorded until_sample steps renewals",
    "LocodlControl": "gamma probability mixing rate unrecorded",
    "NewtonControl": "uses decrease unrecorded weak",
    "NewtonCgControl": "forcing made sample_factor unrecorded",
    "SDaneControl": "proximity unrecorded",
    "StepControl": "scale value decrement since_refresh damping growth round_epochs start_epochs "
    "lengthened|rate_before trail_length mix rest wait adgd_step|chord adgd_ratio|local_rate adgd_curvature "
    "last_value last_fall",
    "WorkingSetControl": "largest unrecorded least stored violation settled",
    "WorkCounters": "visited counted speed round_seconds seconds_since_refresh slowest_pass smoothness",
}


def places(kind):
    """Return the names of the places of a vector, in the form of the table."""
    names = {}
    for name, slot in vars(kind).items():
        if isinstance(slot, Slot):
            names.setdefault(slot.place, []).append(name)
    assert sorted(names) == list(range(len(names)))
    return " ".join("|".join(names[place]) for place in sorted(names))


def test_every_number_keeps_its_place_in_the_stored_vector():
    Algorithm.known()  # imports every algorithm
    kinds = [kind for kind in NamedVector.__subclasses__() if kind.__module__.startswith("mpiopt.algorithms")]
    assert {kind.__name__: places(kind) for kind in kinds} == STORED
