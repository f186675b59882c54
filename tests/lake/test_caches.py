"""Caches have limits, and one owner that clears them."""

import os
from types import SimpleNamespace

import pytest

from eventlake.caches import CACHES, Caches
from eventlake.errors import InvalidInputError
from eventlake.features.engine_cache import ENGINE_CACHE, VARIABLE, EngineCache, limit_bytes
from eventlake.history.sql import tables_read
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.tables import check_upcast, expressions


def test_clear_empties_every_cache_of_its_owner():
    caches, emptied = Caches(), []
    value = caches.per_process(object)
    double = caches.memo(4)(lambda number: [2 * number])
    known = caches.bounded_set(4)
    caches.add(lambda: emptied.append("other"))
    first, doubled = value(), double(1)
    known.add("a")
    assert (value(), double(1), "a" in known) == (first, doubled, True)
    caches.clear()
    assert value() is not first
    assert double(1) is not doubled
    assert "a" not in known
    assert emptied == ["other"]


def test_a_memo_keeps_the_results_that_were_used_last():
    calls = []
    double = Caches().memo(2)(lambda number: calls.append(number) or 2 * number)
    assert [double(number) for number in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert calls == [1, 2, 3, 2]


def test_a_bounded_set_forgets_what_was_used_least_recently():
    known = Caches().bounded_set(2)
    known.add("a")
    known.add("b")
    assert "a" in known
    known.add("c")
    assert ["a" in known, "b" in known, "c" in known, len(known)] == [True, False, True, 2]


def test_a_bounded_map_forgets_what_was_used_least_recently():
    kept = Caches().bounded_map(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [kept.get("a"), kept.get("b"), kept.get("c"), len(kept)] == [1, None, 3, 2]


def test_a_forked_child_uses_a_bounded_map_even_if_another_thread_held_the_lock():
    kept = Caches().bounded_map(2)
    kept.put("a", 1)
    with kept._lock:
        if not (child := os.fork()):
            os._exit(0 if kept.get("a") == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Entities(str):
    __slots__ = ()

    def equals(self, other):
        return self == other


def made(cache, key, size):
    """What the cache gives for a key, and whether it was made for this call."""
    new = []

    def make():
        new.append(SimpleNamespace(entities=Entities("all"), size_bytes=size))
        return new[-1]

    with cache.taken(key, Entities("all"), make):
        return bool(new)


def test_the_engine_cache_keeps_as_many_bytes_as_the_variable_allows(monkeypatch):
    cache = EngineCache(limit_bytes)
    monkeypatch.setenv(VARIABLE, "2MB")
    assert [made(cache, key, 1_000_000) for key in "abab"] == [True, True, False, False]
    assert made(cache, "c", 1_000_000)
    assert [made(cache, "c", 1), made(cache, "a", 1)] == [False, True]
    monkeypatch.setenv(VARIABLE, "0MB")
    assert [made(cache, "d", 1), made(cache, "d", 1)] == [True, True]


def test_the_engine_cache_allows_half_a_gibibyte_where_nothing_is_set(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert limit_bytes() == 512 << 20


def test_a_limit_that_is_no_size_is_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(InvalidInputError, match=f"{VARIABLE}, found 'much'"):
        made(ENGINE_CACHE, "e", 1)


def test_the_caches_of_a_process_are_cleared_together():
    before = duckdb_runner._empty_database(), expressions._databases()
    tables_read.reads_table("SELECT * FROM events", "events")
    check_upcast._checked.add("a")
    made(ENGINE_CACHE, "f", 1)
    CACHES.clear()
    assert duckdb_runner._empty_database() is not before[0]
    assert expressions._databases() is not before[1]
    assert tables_read._names.cache_info().currsize == 0
    assert len(check_upcast._checked) == 0
    assert made(ENGINE_CACHE, "f", 1)
