"""`mpiopt list --tuning`: the constants of the algorithms with the comments that give unit and reason."""

from dataclasses import dataclass

from mpiopt.cli.list import comments_of_fields, describe_tuning, tuning_classes
from tests.cases.command import mpiopt


@dataclass(frozen=True)
class SearchTuning:
    """Constants of a search."""

    growth: float = 2.0  # factor on a step that was accepted
    cuts: tuple[float, ...] = (0.5, 0.25)  # factors on a step that was refused

    # The end of the search.
    # Steps that may be refused in a row: more of them
    # only cost time.
    refused: int = 3
    bare: int = 7


def test_a_constant_has_its_value_and_its_comment():
    assert describe_tuning(SearchTuning).splitlines()[1:] == [
        "  growth = 2.0",
        "      factor on a step that was accepted",
        "  cuts = (0.5, 0.25)",
        "      factors on a step that was refused",
        "  refused = 3",
        "      Steps that may be refused in a row: more of them only cost time.",
        "  bare = 7",
    ]


def test_the_constants_of_all_algorithms_are_listed_with_a_reason_each(capsys):
    assert mpiopt("list", "--tuning") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for kind in tuning_classes():
        assert f"{kind.__name__} ({kind.__module__})" in shown
        assert all(comments_of_fields(kind).values()), kind


def test_tuning_takes_no_other_argument(capsys):
    assert mpiopt("list", "losses", "--tuning") == 2
    assert "list --tuning takes no other argument" in capsys.readouterr().err
