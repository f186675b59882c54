"""How much of the suite runs: everything, or what ``make test`` has time for.

``EVENTLAKE_TESTS=quick`` takes a sample of every grid of cases, fewer Hypothesis examples and fewer
rounds of what is random, and leaves out tests and cases that are marked ``thorough``. This is the
only place that reads the variable.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

QUICK = os.environ.get("EVENTLAKE_TESTS", "all") == "quick"
MOST_VALUES = 2
"""Of one parameter in a sample."""
EVERY_CASE = "every_case"
"""The marker of tests whose grids always run whole: quick ones, and those of stored formats."""
THOROUGH = "thorough"
"""The marker of what a full run alone takes: a claim that cheaper tests show too, in other processes,
at a larger size or by another path. A test that a guarantee names is never one."""


def _spaced(values: Sequence[Any], most: int) -> list[Any]:
    if len(values) <= most:
        return list(values)
    step = (len(values) - 1) / max(most - 1, 1)
    return [values[int(number * step)] for number in range(most)]


def scaled(everything: int, quick: int) -> int:
    """The number of rounds, seeds or mutants to run."""
    return quick if QUICK else everything


def examples(count: int) -> int:
    """The number of Hypothesis examples to run in place of ``count``."""
    return scaled(count, max(3, count // 8))


def some(everything: Sequence[Any], quick: int) -> list[Any]:
    """All of a sequence, or in a quick run so many evenly spaced ones, with both ends."""
    return _spaced(list(everything), scaled(len(everything), quick))


STORAGES = some(["local", "memory"], 1)
"""Where a test keeps its lake. Memory has a suite of its own, and most other lakes are in it."""


def sample(cases: Sequence[Mapping[str, int]], most: int = MOST_VALUES) -> list[int]:
    """The positions of cases that together have evenly spaced values of every parameter.

    The first and the last value of a parameter are always among them. A grid of several parameters
    is crossed diagonally, not row by row: each choice is the case with most values still missing.

    Args:
        cases: The index of the value of each parameter.
        most: The values to keep of one parameter.
    """
    missing = {
        (name, value)
        for name in {name for case in cases for name in case}
        for value in _spaced(sorted({case[name] for case in cases if name in case}), most)
    }
    chosen = set()
    while missing:
        new = [len(missing & case.items()) for case in cases]
        best = new.index(max(new))
        chosen.add(best)
        missing -= cases[best].items()
    return sorted(chosen)
