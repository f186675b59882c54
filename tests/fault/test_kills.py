"""kill -9 and stopped processes, hundreds of times: acknowledged ⊆ recovered, sequences dense, nothing damaged, nothing left over."""

import random

import pytest

from tests.fault.crowd import ROLES, Crowd


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
    for crowd, number in crowds(tmp_path, 20260131, 100, 25):
        crowd.round([crowd.dice.choice(["small", "small", "large", "group"])])
        crowd.assert_sound(deep=number % 24 == 0)


@pytest.mark.timeout(400)
def test_four_writers_are_killed_together_at_any_moment_sixty_times(tmp_path):
    for crowd, number in crowds(tmp_path, 20260201, 60, 20):
        crowd.round(
            [crowd.dice.choice(["small", "small", "large", "group"]) for _ in range(4)],
            stop_one=number % 10 == 0,
        )
        crowd.assert_sound(deep=number == 19)


@pytest.mark.timeout(400)
def test_writers_and_maintenance_are_killed_together_at_any_moment_forty_times(tmp_path):
    for crowd, number in crowds(tmp_path, 20260202, 40, 20):
        crowd.round(
            ["small", "large", *(crowd.dice.choice(ROLES[2:]) for _ in range(2))],
            stop_one=number % 5 == 0,
        )
        crowd.assert_sound(deep=number == 19)
