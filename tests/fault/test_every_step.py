"""The storage fails, or succeeds and says it failed, at every call of every operation: the lake stays sound, and it can be repeated."""

import contextlib
import itertools
import uuid
from datetime import timedelta

import pytest

import eventlake as el
from eventlake.errors import CommitUnknownError, EventlakeError, InvalidEventsError
from eventlake.storage import MemoryStorage
from eventlake.testing.faults import FaultyStorage, at_call, at_random
from eventlake.testing.invariants import assert_sound
from tests.scope import scaled
from tests.support.limits import IMPATIENT, limited

FAULTS = ["before", "after", "not stored", "not durable", "full"]


def batch(name, rows=3):
    return [
        {
            "id": f"{name}-{row}",
            "source": "s",
            "type": "t",
            "subject": f"/{row}",
            "data": {"row": row},
        }
        for row in range(rows)
    ]


def impatient(lake):
    """The lake with small tiers, and nobody waits long for a store that does not answer."""
    return limited(lake, fold_weight=60, inline_keys=4, **IMPATIENT)


def append(lake):
    return [
        (
            lake.append(batch("new"), producer="p", position=1, expect=[el.populated("/1")]),
            batch("new"),
        )
    ]


def append_many(lake):
    return [(lake.append(batch("new", 6)), batch("new", 6))]


def group(lake):
    with lake.writer() as writer:
        futures = [(writer.append(batch(name, 2)), batch(name, 2)) for name in ("new-a", "new-b")]
    return [(future.result(), one) for future, one in futures]


def compact(lake):
    lake.compact()
    return []


def collect(lake):
    lake.gc(older_than=timedelta(0), dry_run=False)
    return []


def settle(lake):
    assert lake.resolve(str(uuid.uuid4())) is None
    return []


OPERATIONS = [append, append_many, group, compact, collect, settle]


def history(lake, commits=5):
    """A few commits, tiers, a compacted segment and garbage."""
    known = [
        (lake.append(batch(f"old-{number}")), batch(f"old-{number}")) for number in range(commits)
    ]
    lake.compact(target_bytes=3_000)
    known.append((lake.append(batch("last")), batch("last")))
    lake._chain.storage.create("segments/.tmp-0", b"half")
    return [(receipt, [event["id"] for event in events]) for receipt, events in known]


def ids(acknowledged):
    return [(receipt, [event["id"] for event in events]) for receipt, events in acknowledged]


def copied(storage):
    copy = MemoryStorage()
    for stored in storage.list(""):
        copy.create(stored.path, storage.read(stored.path))
    return copy


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.__name__)
def test_a_fault_at_any_call(operation, fault):
    begin = MemoryStorage()
    known = history(impatient(el.create(begin, "o")))
    for number in itertools.count(step=scaled(1, 5)):
        inner = copied(begin)
        storage = FaultyStorage(inner)
        lake = impatient(el.open(storage))
        storage.forget(at_call(number, fault))
        done = []
        try:
            done = operation(lake)
        except CommitUnknownError as error:
            settled = el.open(inner).resolve(error.facts["commit_id"])
            assert (settled is not None) == any(
                entry.commit.commit_id == error.facts["commit_id"] for entry in el.open(inner).log()
            )
        except EventlakeError:
            pass
        assert_sound(el.open(inner), [*known, *ids(done)])
        calls = len(storage.calls)
        storage.forget()
        _again(operation, lake)
        assert_sound(el.open(inner), [*known, *ids(done)])
        if operation not in {compact, collect, settle}:
            assert "new" in {name[:3] for name in el.open(inner).snapshot().scan().collect()["id"]}
        if calls <= number:
            break
    assert number > 3, "no call was met"


def _again(operation, lake):
    """The handle that met the fault goes on; what it appended already is refused or answered by its first receipt."""
    try:
        operation(lake)
    except InvalidEventsError as error:
        assert "in the lake already" in str(error)


@pytest.mark.parametrize("seed", range(scaled(15, 2)))
def test_faults_at_random_while_everything_happens(seed):
    inner = MemoryStorage()
    acknowledged = history(impatient(el.create(inner, "o")))
    storage = FaultyStorage(inner, at_random(seed, 0.03))
    for number in range(40):
        events = batch(f"{seed}-{number}", 1 + number % 7)
        if number % 5 == 4:
            with contextlib.suppress(EventlakeError):
                compact(impatient(el.open(storage)))
            with contextlib.suppress(EventlakeError):
                collect(impatient(el.open(storage)))
        for attempt in range(100):
            try:
                acknowledged += ids(
                    [
                        (
                            impatient(el.open(storage)).append(
                                events, producer="p", position=number
                            ),
                            events,
                        )
                    ]
                )
                break
            except EventlakeError:
                assert attempt < 99
    compact(el.open(inner))
    collect(el.open(inner))
    lake = el.open(inner)
    assert_sound(lake, acknowledged)
    assert lake.watermark == sum(len(names) for _, names in acknowledged)
