"""kill -9 and stopped processes, hundreds of times: acknowledged ⊆ recovered, sequences dense, nothing damaged, nothing left over."""

import random

import pytest

from tests.fault.crowd import ROLES, Crowd


@pytest.mark.timeout(400)
def test_a_lone_writer_is_killed_at_any_moment_a_hundred_times(tmp_path):
    crowd = Crowd(tmp_path, random.Random(20260131))
    for number in range(100):
        crowd.round([crowd.dice.choice(["small", "small", "large", "group"])])
        crowd.assert_sound(deep=number % 25 == 0)
    assert crowd.acknowledged
    crowd.settle()


@pytest.mark.timeout(400)
def test_four_writers_are_killed_together_at_any_moment_sixty_times(tmp_path):
    crowd = Crowd(tmp_path, random.Random(20260201))
    for number in range(60):
        crowd.round([crowd.dice.choice(["small", "small", "large", "group"]) for _ in range(4)], stop_one=number % 10 == 0)
        crowd.assert_sound(deep=number % 20 == 0)
    assert crowd.acknowledged
    crowd.settle()


@pytest.mark.timeout(400)
def test_writers_and_maintenance_are_killed_together_at_any_moment_forty_times(tmp_path):
    crowd = Crowd(tmp_path, random.Random(20260202))
    for number in range(40):
        crowd.round(["small", "large", *(crowd.dice.choice(ROLES[2:]) for _ in range(2))], stop_one=number % 5 == 0)
        crowd.assert_sound(deep=number % 20 == 0)
    assert crowd.acknowledged
    crowd.settle()
