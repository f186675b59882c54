"""A live consumer sees every event once, in order, whoever appends."""

import subprocess
import sys
import threading

import pytest

import eventlake as el
from eventlake.errors import InvalidInputError
from eventlake.history.follow import follow

WRITER = """
import sys, eventlake as el
lake = el.open(sys.argv[1])
for batch in range(20):
    lake.append([{"id": f"{batch}-{n}", "source": "other", "type": "t"} for n in range(3)])
"""


def events(name, count):
    return [
        {"id": f"{name}-{n}", "source": "s", "type": "t", "data": {"n": n}} for n in range(count)
    ]


def test_a_consumer_sees_what_is_there_and_what_another_process_appends_in_order_and_once(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append(events("first", 5))
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "lake")])
    seen = []
    for frame in lake.follow(poll_seconds=0.01, timeout_seconds=20):
        assert frame.height > 0
        seen += frame["sequence"].to_list()
        if len(seen) == 65:
            break
    assert writer.wait() == 0
    assert seen == list(range(65))


def test_a_consumer_goes_on_where_it_stopped(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    for name in "abc":
        lake.append(events(name, 4))
    after, seen = 0, []
    for _ in range(4):
        frame = next(el.open(tmp_path / "lake").follow(after=after, timeout_seconds=0), None)
        if frame is None:
            break
        taken = frame.head(5)
        seen += taken["id"].to_list()
        after = taken["sequence"][-1] + 1
    assert seen == [f"{name}-{n}" for name in "abc" for n in range(4)]


def test_frames_are_bounded_and_never_empty():
    lake = el.create("memory://", "o")

    def followed():
        return list(follow(lake.snapshot, 0, 0.1, 0, batch_rows=3))

    assert followed() == []
    lake.append(events("a", 7))
    frames = followed()
    assert [frame.height for frame in frames] == [3, 3, 1]
    assert frames[0].columns == lake.snapshot().scan().collect().columns


def test_frames_of_large_events_have_few_rows():
    lake = el.create("memory://", "o")
    large = [one | {"data": {"text": "x" * 10_000}} for one in events("a", 50)]
    lake.append([*large, *events("b", 40)])
    frames = list(follow(lake.snapshot, 0, 0.1, 0, batch_rows=20, most_bytes=60_000))
    heights = [frame.height for frame in frames]
    assert heights[0] == 20
    assert set(heights[1:6]) == {5}
    assert heights[-2] == 20
    followed = [name for frame in frames for name in frame["id"]]
    assert followed == [one["id"] for one in [*large, *events("b", 40)]]


def test_a_consumer_that_waits_is_woken_by_an_append():
    lake = el.create("memory://", "o")
    threading.Timer(0.1, lambda: lake.append(events("late", 2))).start()
    assert next(lake.follow(poll_seconds=0.01))["id"].to_list() == ["late-0", "late-1"]


def test_a_lake_that_is_shorter_than_what_was_dealt_with_is_noticed():
    lake = el.create("memory://", "o")
    lake.append(events("a", 2))
    with pytest.raises(InvalidInputError, match="its end is missing"):
        next(lake.follow(after=3))


@pytest.mark.parametrize(
    "pauses", [{"poll_seconds": 0}, {"poll_seconds": -1}, {"timeout_seconds": -1}, {"after": -1}]
)
def test_a_pause_is_a_pause(pauses):
    with pytest.raises(InvalidInputError, match=f"expected {next(iter(pauses))} (above|from) 0"):
        next(el.create("memory://", "o").follow(**pauses))
