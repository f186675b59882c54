"""What a process keeps for all of its threads: no thread takes away what another one uses, and a forked child leaves its parent's alone."""

import itertools
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from eventlake.database import per_process
from eventlake.tables import expressions

ROWS = pa.table({"n": [1, 2, 3]})


@pytest.fixture
def interleaved():
    """Threads that are started let others go on at every line of the modules whose files are added to the set."""
    files = set()

    def pause(frame, event, _):
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            time.sleep(0.0001)
        return pause

    threading.settrace(pause)
    yield files
    threading.settrace(None)


def exit_code(work):
    """Of a forked child that does ``work``: 0 if it returns true."""
    if not (child := os.fork()):
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_upcast_keeps_its_database_whatever_other_threads_ask_for_meanwhile(monkeypatch):
    monkeypatch.setattr(expressions, "_MOST_DATABASES", 2)
    numbers = itertools.count()

    def others():
        for number in itertools.islice(numbers, 2):
            expressions.evaluate({"x": f"n - {number}"}, ROWS)

    def let_others_run(frame, event, _):
        if frame.f_code.co_filename != expressions.__file__:
            return None
        if event == "line":
            other = threading.Thread(target=others, daemon=True)
            other.start()
            other.join(0.2)  # at the lines at which it has to wait for us
        return let_others_run

    for _ in ("made", "found"):
        sys.settrace(let_others_run)
        try:
            found = expressions.evaluate({"x": "n + 100"}, ROWS)
        finally:
            sys.settrace(None)
        assert found["x"].to_pylist() == [101, 102, 103]
        expressions.evaluate({"x": "n + 100"}, ROWS)


def test_the_upcasts_that_were_used_least_recently_are_let_go_and_plans_never():
    databases = expressions._Databases()
    plans, first = databases.plans, databases.of({"x": "0"})
    for number in range(1, 30):
        databases.of({"x": str(number)})
        assert databases.of({"x": "0"}) is first
    assert databases.plans is plans
    assert {dict(key)["x"] for key in databases._kept} == {"0", *map(str, range(23, 30))}


def test_a_database_that_was_let_go_goes_on_for_who_uses_it():
    databases = expressions._Databases()
    database = databases.of({"x": "0"})
    cursor = database.cursor()
    for number in range(1, 30):
        databases.of({"x": str(number)})
    assert cursor.execute("SELECT 42").fetchall() == [(42,)]


def test_a_value_of_a_process_is_made_once_by_all_its_threads(interleaved):
    interleaved.add(per_process.__code__.co_filename)
    made = []

    def make():
        made.append(object())
        return made[-1]

    value = per_process(make)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: value(), range(100))) == {made[0]}
    assert len(made) == 1


def test_a_forked_child_makes_a_value_of_its_own_even_if_another_thread_held_the_lock():
    value = per_process(lambda: [os.getpid()])
    before = value()
    with value._lock:
        assert exit_code(lambda: value() == [os.getpid()] and value() is not before) == 0
    assert value() is before
    assert before == [os.getpid()]
