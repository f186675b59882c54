"""kill -9 and stopped processes: acknowledged ⊆ recovered, dense sequences, no damage, no litter.

Hundreds of kills when everything runs, one lake each in a quick run.
"""

import random

import pytest

from tests.fault.crowd import ROLES, Crowd
from tests.scope import scaled


def crowds(folder, seed, rounds, each):
    """The crowd of every round, and its number in its lake; what is left over of a lake is collected in the end, and nothing is missed.

    A lake is left after so many rounds, for looking at a whole one takes longer and longer.
    """
    dice = random.Random(seed)
    for first in range(0, rounds, each):
        (folder / str(first)).mkdir()
        crowd = Crowd(folder / str(first), dice)
        for number in range(each):
            yield crowd, number
        assert crowd.acknowledged
        crowd.settle()


@pytest.mark.timeout(400)
def test_a_lone_writer_is_killed_at_any_moment_a_hundred_times(tmp_path):
    for crowd, number in crowds(tmp_path, 20260131, scaled(100, 8), scaled(25, 8)):
        crowd.round([crowd.dice.choice(["small", "small", "large", "group"])])
        crowd.assert_sound(deep=number % scaled(24, 7) == 0)


@pytest.mark.timeout(400)
def test_four_writers_are_killed_together_at_any_moment_sixty_times(tmp_path):
    for crowd, number in crowds(tmp_path, 20260201, scaled(60, 4), scaled(20, 4)):
        crowd.round(
            [crowd.dice.choice(["small", "small", "large", "group"]) for _ in range(4)],
            stop_one=number % scaled(10, 2) == 0,
        )
        crowd.assert_sound(deep=number == scaled(19, 3))


@pytest.mark.timeout(400)
def test_writers_and_maintenance_are_killed_together_at_any_moment_forty_times(tmp_path):
    for crowd, number in crowds(tmp_path, 20260202, scaled(40, 4), scaled(20, 4)):
        crowd.round(
            ["small", "large", *(crowd.dice.choice(ROLES[2:]) for _ in range(2))],
            stop_one=number % scaled(5, 2) == 0,
        )
        crowd.assert_sound(deep=number == scaled(19, 3))
