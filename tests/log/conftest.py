"""A store of each kind, and the writers' clock, for the tests of the log."""

import pytest

from eventlake.storage import LocalStorage, MemoryStorage
from tests.scope import STORAGES
from tests.support.maintenance_fixtures import NOW


@pytest.fixture(params=STORAGES)
def storage(request, tmp_path):
    return MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path / "lake")


@pytest.fixture
def clock(monkeypatch):
    """The writers' clock, to be moved."""
    now = [NOW]
    monkeypatch.setattr("eventlake.lake._now", lambda: now[0])
    return now
