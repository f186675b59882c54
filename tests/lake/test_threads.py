"""What a process keeps for all of its threads: no thread takes away what another one uses, and a forked child leaves its parent's alone."""

import builtins
import itertools
import os
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pyarrow as pa
import pytest

from eventlake.caches import Caches, PerProcess
from eventlake.datasets.building import build_once
from eventlake.executors import local
from eventlake.projections import source
from eventlake.projections.printing import printing_to_stderr
from eventlake.projections.source import load, load_value
from eventlake.storage import LocalStorage, MemoryStorage
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

    before = threading.gettrace()
    threading.settrace(pause)
    yield files
    threading.settrace(before)


def exit_code(work):
    """Of a forked child that does ``work``: 0 if it returns true."""
    if not (child := os.fork()):
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.thorough
def test_an_upcast_keeps_its_database_whatever_other_threads_ask_for_meanwhile(monkeypatch):
    few = Caches().per_process(lambda: expressions._Databases(most=2))
    monkeypatch.setattr(expressions, "_databases", few)
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
        before = sys.gettrace()  # of a debugger, or of whoever measures coverage
        sys.settrace(let_others_run)
        try:
            found = expressions.evaluate({"x": "n + 100"}, ROWS)
        finally:
            sys.settrace(before)
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
    interleaved.add(PerProcess.__call__.__code__.co_filename)
    made = []

    def make():
        made.append(object())
        return made[-1]

    value = Caches().per_process(make)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: value(), range(100))) == {made[0]}
    assert len(made) == 1


def test_a_forked_child_makes_a_value_of_its_own_even_if_another_thread_held_the_lock():
    value = Caches().per_process(lambda: [os.getpid()])
    before = value()
    with value._lock:
        assert exit_code(lambda: value() == [os.getpid()] and value() is not before) == 0
    assert value() is before
    assert before == [os.getpid()]


OVERLAPPING = """
import helper
events.begun[helper.NUMBER].set()
events.begun[1 - helper.NUMBER].wait(1)  # is not told so if they take turns
import late
NUMBERS = (helper.NUMBER, late.NUMBER)
"""


def test_projections_that_two_threads_load_at_once_import_their_own_files_and_leave_stdout_and_imports_alone(
    monkeypatch,
):
    first, second, over = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(builtins, "events", (first, second, over), raising=False)
    before = sys.stdout, list(sys.path)
    # The first begins and ends before the second ends; neither is told so if they take turns.
    overlapping = ["events[0].set(); events[1].wait(1)", "events[1].set(); events[2].wait(1)"]

    def loaded(number):
        if number:
            assert first.wait(60)
        text = f"import helper\n{overlapping[number]}\nimport late\nNUMBERS = (helper.NUMBER, late.NUMBER)"
        found = load_value(
            "a.py:NUMBERS",
            {"a.py": text, "helper.py": f"NUMBER = {number}", "late.py": f"NUMBER = {number}"},
        )
        over.set()
        return found

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(loaded, range(2))) == [(0, 0), (1, 1)]
    assert (sys.stdout, list(sys.path)) == before
    assert not {"helper", "late"} & set(sys.modules)


def test_functions_of_projections_that_two_threads_run_at_once_import_their_own_files(monkeypatch):
    events = SimpleNamespace(begun=[threading.Event(), threading.Event()])
    monkeypatch.setattr(builtins, "events", events, raising=False)
    text = "def run():\n" + textwrap.indent(OVERLAPPING, "    ") + "    return NUMBERS\n"
    functions = [
        load("a.py:run", {"a.py": text, "helper.py": f"NUMBER = {n}", "late.py": f"NUMBER = {n}"})
        for n in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda function: function(), functions)) == [(0, 0), (1, 1)]


def test_stdout_is_itself_again_once_the_last_of_overlapping_blocks_ends():
    before = sys.stdout
    one, other = printing_to_stderr(), printing_to_stderr()
    with ThreadPoolExecutor(1) as pool:
        one.__enter__()
        pool.submit(other.__enter__).result()
        one.__exit__(None, None, None)
        assert sys.stdout is sys.stderr
        pool.submit(other.__exit__, None, None, None).result()
    assert sys.stdout is before


def test_a_child_that_is_forked_while_another_thread_loads_has_stdout_and_can_load():
    def loads():
        return sys.stdout is before and load_value("a.py:X", {"a.py": "X = 1"}) == 1

    before = sys.stdout
    block = printing_to_stderr()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(source._importing.acquire).result()
        pool.submit(block.__enter__).result()
        code = exit_code(loads)
        pool.submit(block.__exit__, None, None, None).result()
        pool.submit(source._importing.release).result()
    assert code == 0


def recipe(number):
    return SimpleNamespace(recipe_hash=f"{number:064d}", name="x")


def test_two_copies_of_a_lake_hold_a_claim_each_at_one_path():
    one, other = MemoryStorage(), MemoryStorage()
    with build_once.build_lease(one, recipe(1), lambda: None):
        with build_once.build_lease(other, recipe(1), lambda: None):
            pass
        assert list(one.list(""))
        build_once.release_leases()
        assert list(one.list("")) == []


def test_no_claim_is_forgotten_while_other_threads_give_up_theirs(interleaved):
    interleaved.add(build_once.__file__)
    kept = MemoryStorage()
    others = [MemoryStorage() for _ in range(4)]
    over = threading.Event()

    def churn(storage):
        while not over.is_set():
            with build_once.build_lease(storage, recipe(2), lambda: None):
                pass

    with ThreadPoolExecutor(4) as pool:
        churning = [pool.submit(churn, storage) for storage in others]
        forgotten = []
        for number in range(100, 130):
            with build_once.build_lease(kept, recipe(number), lambda: None):
                time.sleep(0.001)
                forgotten += (
                    [number]
                    if not any(
                        f"{number:064d}" in claim.path for claim in list(build_once._held_leases)
                    )
                    else []
                )
        over.set()
        for one in churning:
            one.result()
    assert forgotten == []
    assert build_once._held_leases == set()


def test_a_forked_child_that_gives_up_its_claims_leaves_those_of_its_parent(tmp_path):
    storage = LocalStorage(tmp_path)
    with build_once.build_lease(storage, recipe(1), lambda: None):
        assert exit_code(lambda: build_once.release_leases() is None) == 0
        assert len(list(storage.list(""))) == 1
    assert list(storage.list("")) == []


def test_workers_answer_while_another_one_is_started_and_none_outlives_the_end(
    monkeypatch, tmp_path
):
    pool = local._Pool([], tmp_path, local.SLOW_SECONDS)
    seen = []

    class Starts:
        def __init__(self, _):
            seen.append(("lock is free", pool._lock.acquire(timeout=0)))
            pool._lock.release()
            pool.end()  # meanwhile somebody ends the pool, which does not know this worker yet

        def kill(self):
            seen.append(("killed", True))

    monkeypatch.setattr(local, "_Worker", Starts)
    pool._start_worker()
    assert seen == [("lock is free", True), ("killed", True)]
