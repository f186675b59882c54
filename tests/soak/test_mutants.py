"""Ten thousand mutants of every stored document: a named error or what was there before, no crash, no file outside the lake."""

import logging
import os
import resource
import sys
import time

import pytest

from tests.support.mutants import KINDS, assert_gone_well, run

SECONDS = float(os.environ.get("EVENTLAKE_SOAK_SECONDS", "0"))
SEED = int(os.environ.get("EVENTLAKE_SOAK_SEED", time.time_ns() % 1_000_000))
MUTANTS = int(os.environ.get("EVENTLAKE_SOAK_MUTANTS", "10000"))
MOST_BYTES = 1 << 30
"""That much more memory than before the mutants."""


def _most_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


@pytest.mark.skipif(not SECONDS, reason="takes an hour: make soak")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_mutants_of_a_document_are_refused_by_name_or_change_nothing(
    kind, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.CRITICAL)
    (tmp_path / "here").mkdir()
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run(kind, 10, seed=SEED, folder=tmp_path / "files")
    before = _most_memory()
    outcome = run(kind, MUTANTS, seed=SEED, folder=tmp_path / "files")
    sys.stdout.write(
        f"\nmutants of {kind}, seed {SEED}: {outcome.refused:,} refused, {outcome.lived:,} put into a lake\n"
    )
    assert_gone_well(outcome)
    assert _most_memory() - before < MOST_BYTES
    assert os.listdir(tmp_path / "here") == []  # noqa: PTH208 - names are what counts
