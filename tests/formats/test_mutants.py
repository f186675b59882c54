"""Some mutants of every stored document, the same every time; ``make soak`` makes ten thousand of each."""

import logging
import os

import pytest

from tests.scope import scaled
from tests.support.mutants import KINDS, assert_gone_well, run

pytestmark = pytest.mark.every_case

SOME = scaled(80, 8)
LAKES = scaled(2, 1)
"""So many of those that decode are put into a lake."""


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_some_mutants_of_a_document_are_refused_by_name_or_change_nothing(
    kind, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.CRITICAL)
    (tmp_path / "here").mkdir()
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outcome = run(kind, SOME, seed=1, folder=tmp_path / "files", most_lakes=LAKES)
    assert_gone_well(outcome)
    least = SOME // 2 if kind != "claim" else 0  # whatever a claim says, somebody may hold it
    assert outcome.refused >= least, "most mutants are refused, or nothing was tried"
    assert outcome.lived == LAKES or KINDS[kind].install is None or outcome.refused > SOME // 2
    assert os.listdir(tmp_path / "here") == []  # noqa: PTH208 - names are what counts
