"""Many threads, one commit: every batch resolves by itself, in order, when it is durable."""

import threading

import polars as pl
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.errors import ConflictError, InvalidEventsError, InvalidInputError, StorageError
from eventlake.storage import MemoryStorage, NotStoredError
from tests.scope import STORAGES


def one(name, **more):
    return [{"id": name, "source": "s", "type": "t", "data": {"name": name}} | more]


@pytest.fixture(params=STORAGES)
def lake(request, tmp_path):
    return el.create("memory://" if request.param == "memory" else tmp_path / "lake", "o")


def test_threads_share_commits_and_each_event_stands_where_its_receipt_says(lake):
    receipts = {}

    def send(name, writer):
        for n in range(25):
            receipts[f"{name}-{n}"] = writer.append(one(f"{name}-{n}")).result()

    with lake.writer(max_delay=0.02) as writer:
        threads = [threading.Thread(target=send, args=(name, writer)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ids = lake.snapshot().scan().collect()["id"].to_list()
    assert sorted(receipt.start for receipt in receipts.values()) == list(range(200))
    assert all(ids[receipt.start] == name for name, receipt in receipts.items())
    assert len(lake.log()) < 100
    assert el.open(lake._chain.storage).verify(deep=True).ok


def test_batches_of_one_thread_keep_their_order(lake):
    with lake.writer(max_delay=0.05) as writer:
        futures = [writer.append(one(f"{n}")) for n in range(30)]
    assert [future.result().start for future in futures] == list(range(30))
    assert lake.snapshot().scan().collect()["id"].to_list() == [f"{n}" for n in range(30)]


def test_a_member_that_fails_takes_nobody_with_it(lake):
    lake.append(one("old"))
    with lake.writer(max_delay=0.2) as writer:
        futures = [
            writer.append(events) for events in (one("a"), one("old"), one("b"), one("a"), one("c"))
        ]
    outcomes = [
        type(future.exception()) if future.exception() else future.result().start
        for future in futures
    ]
    assert outcomes == [1, InvalidEventsError, 2, InvalidEventsError, 3]
    assert len(lake.log()) == 2
    assert lake.snapshot().scan().collect()["id"].to_list() == ["old", "a", "b", "c"]


def test_what_breaks_the_rules_is_refused_by_itself_with_its_own_rows(lake):
    bad = [one("x")[0], {"id": "a"}]
    with lake.writer(max_delay=0.2) as writer:
        futures = [
            writer.append(events)
            for events in (
                one("a"),
                bad,
                one("b", recorded_at="2026-01-01T00:00:00Z"),
                one("b"),
                [5],
            )
        ]
        assert writer.append([]).result().commit_hash is None
    assert [future.result().start for future in (futures[0], futures[3])] == [0, 1]
    assert {(problem.row, problem.field) for problem in futures[1].exception().problems} == {
        (1, "source"),
        (1, "type"),
    }
    assert "cannot be in it" in str(futures[2].exception())
    assert [(problem.row, problem.field) for problem in futures[4].exception().problems] == [
        (0, "event")
    ]
    assert lake.snapshot().scan().collect()["id"].to_list() == ["a", "b"]
    with lake.writer() as writer, pytest.raises(InvalidInputError):
        writer.append(5)


class Broken(dict):
    """A mapping of a caller that cannot be read."""

    def get(self, *_):
        raise ZeroDivisionError

    __getitem__ = keys = values = items = __iter__ = get


def test_events_whose_reading_raises_fail_by_themselves(lake):
    with lake.writer(max_delay=0.2) as writer:
        futures = [writer.append(events) for events in (one("a"), [Broken(id="b")], one("c"))]
        assert isinstance(futures[1].exception(), ZeroDivisionError)
        assert [futures[place].result().start for place in (0, 2)] == [0, 1]
        assert writer.append(one("d")).result().start == 2


def test_tables_and_dicts_are_in_one_group(lake):
    frame = pl.DataFrame(one("frame")).with_columns(data=pl.lit("{}"))
    with lake.writer(max_delay=0.2) as writer:
        futures = [
            writer.append(events)
            for events in (one("a"), frame, (event for event in one("generated")), one("b"))
        ]
    assert [future.result().start for future in futures] == [0, 1, 2, 3]
    assert len(lake.log()) == 1


def test_producers_keep_their_positions_inside_a_group(lake):
    with lake.writer(max_delay=0.2) as writer:
        futures = [writer.append(one(f"p{n}"), producer="p", position=n) for n in (4, 5, 7, 6)]
        futures.append(writer.append(one("q"), producer="q", position=0))
    outcomes = [
        type(future.exception()) if future.exception() else future.result().start
        for future in futures
    ]
    assert outcomes == [0, 1, ConflictError, 2, 3]
    again = el.open(lake._chain.storage)
    assert again.append(one("p5"), producer="p", position=5) == futures[1].result()
    with pytest.raises(ConflictError, match="with other events"):
        again.append(one("else"), producer="p", position=5)
    with again.writer() as writer:
        assert writer.append(one("p6"), producer="p", position=6).result() == futures[3].result()
    assert again.watermark == 4


def test_a_group_that_loses_the_race_follows_the_winner():
    storage = MemoryStorage()
    lake, other = el.create(storage, "o"), None
    other = el.open(storage)
    real, raced = storage.create, []

    def create(path, data):
        if layout.commit_version(path) == 0 and not raced:
            raced.append(path)
            other.append(one("b"))
        real(path, data)

    storage.create = create
    with lake.writer(max_delay=0.2) as writer:
        futures = [writer.append(one(name)) for name in "abc"]
    outcomes = [
        type(future.exception()) if future.exception() else future.result().start
        for future in futures
    ]
    assert outcomes == [1, InvalidEventsError, 2]
    assert lake.snapshot().scan().collect()["id"].to_list() == ["b", "a", "c"]


def test_a_store_that_fails_is_told_to_every_member_and_the_writer_goes_on():
    storage = MemoryStorage()
    lake = el.create(storage, "o")
    real, broken = storage.create, [True]

    def create(path, data):
        if broken:
            raise NotStoredError("full", path=path)
        real(path, data)

    storage.create = create
    with lake.writer(max_delay=0.1) as writer:
        futures = [writer.append(one(name)) for name in "ab"]
        assert all(isinstance(future.exception(), StorageError) for future in futures)
        broken.clear()
        assert writer.append(one("a")).result().start == 0


def test_back_pressure_holds_appends_until_there_is_room():
    lake = el.create("memory://", "o")
    gate, started = threading.Event(), threading.Event()
    with lake.writer(max_delay=0, max_events=1, max_pending=2) as writer:
        real = writer._commit

        def commit(members):
            started.set()
            gate.wait()
            real(members)

        writer._commit = commit
        first = [writer.append(one(name)) for name in "ab"]
        assert started.wait(5)
        third = []
        thread = threading.Thread(target=lambda: third.append(writer.append(one("c"))))
        thread.start()
        thread.join(0.1)
        assert third == []
        gate.set()
        thread.join(5)
        assert [future.result().start for future in [*first, *third]] == [0, 1, 2]


def test_a_closed_writer_has_committed_everything_and_takes_no_more(lake):
    with lake.writer(max_delay=10) as writer:
        futures = [writer.append(one(name)) for name in "abc"]
    assert [future.done() for future in futures] == [True] * 3
    with pytest.raises(InvalidInputError, match="closed"):
        writer.append(one("d"))
    assert lake.watermark == 3


def test_a_batch_waits_for_others_until_the_group_is_full(lake):
    with lake.writer(max_delay=60, max_events=3) as writer:
        first = writer.append(one("a"))
        with pytest.raises(TimeoutError):
            first.result(0.1)
        second = writer.append([*one("b"), *one("c")])
        assert (first.result(30).start, second.result(30).start) == (0, 1)
    assert len(lake.log()) == 1


def test_a_group_holds_no_more_events_than_its_limit_and_at_least_one_batch(lake):
    groups = []
    with lake.writer(max_delay=60, max_events=3) as writer:
        real = writer._commit
        writer._commit = lambda members: (
            groups.append([one.rows for one in members]),
            real(members),
        )
        sizes = [1, 1, 5, 3, 2, 1]
        with writer._changed:
            futures = [
                writer.append([one(f"{n}-{row}")[0] for row in range(size)])
                for n, size in enumerate(sizes)
            ]
    assert groups == [[1, 1], [5], [3], [2, 1]]
    assert [future.result().start for future in futures] == [0, 1, 2, 7, 10, 12]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_while_committing_reaches_every_batch_that_waits_and_closes_the_writer(lake):
    writer = lake.writer(max_delay=10, max_events=2)
    waiting = []

    def commit(members):
        waiting.append(writer.append(one("c")))
        members[0].outcome.set_result("done")
        raise ZeroDivisionError

    writer._commit = commit
    futures = [writer.append(one(name)) for name in "ab"]
    assert futures[0].result(5) == "done"
    assert isinstance(futures[1].exception(5), ZeroDivisionError)
    assert isinstance(waiting[0].exception(5), ZeroDivisionError)
    with pytest.raises(InvalidInputError, match="closed"):
        writer.append(one("d"))
    writer.close()
    assert lake.watermark == 0


@pytest.mark.parametrize("limits", [{"max_delay": -1}, {"max_events": 0}, {"max_pending": 0}])
def test_limits_are_limits(lake, limits):
    with pytest.raises(InvalidInputError, match=f"expected {next(iter(limits))} from"):
        lake.writer(**limits)
