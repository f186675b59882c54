"""A producer that may retry: each batch is in the lake once."""

import threading

import pytest

import eventlake as el
from eventlake.errors import ConflictError, InvalidInputError
from eventlake.log.appending.positions import next_position
from eventlake.storage import MemoryStorage
from tests.scope import STORAGES


def batch(name, count=3, **more):
    return [
        {"id": f"{name}-{n}", "source": "s", "type": "t", "data": {"n": n}} | more
        for n in range(count)
    ]


@pytest.fixture(params=STORAGES)
def lake(request, tmp_path):
    return el.create("memory://" if request.param == "memory" else tmp_path / "lake", "o")


def test_a_retried_batch_gets_its_first_receipt_and_is_in_the_lake_once(lake):
    first = lake.append(batch("a"), producer="core-bank", position=7)
    second = lake.append(batch("b"), producer="core-bank", position=8)
    for again, receipt in ((batch("a"), first), (batch("b"), second)):
        position = {first: 7, second: 8}[receipt]
        assert lake.append(again, producer="core-bank", position=position) == receipt
        assert (
            el.open(lake._chain.storage).append(again, producer="core-bank", position=position)
            == receipt
        )
    assert lake.watermark == 6
    assert [entry.commit.deliveries[0].position.position for entry in lake.log()] == [7, 8]


def test_a_gap_and_a_step_back_are_refused(lake):
    lake.append(batch("a"), producer="p", position=7)
    for position, kind in ((9, "a gap"), (6, "a step back"), (0, "a step back")):
        with pytest.raises(ConflictError, match=kind) as caught:
            lake.append(batch("b"), producer="p", position=position)
        assert caught.value.facts == {"expected": 8, "found": position}
    assert lake.watermark == 3
    assert lake.append(batch("b"), producer="p", position=8).start == 3


@pytest.mark.parametrize(
    "other",
    [batch("b"), batch("a", 2), batch("a", subject="/x"), batch("a")[::-1]],
    ids=["ids", "count", "subject", "order"],
)
def test_a_position_names_one_batch_for_ever(lake, other):
    lake.append(batch("a"), producer="p", position=0)
    with pytest.raises(ConflictError, match="with other events"):
        lake.append(other, producer="p", position=0)
    assert lake.watermark == 3


def test_producers_do_not_mind_each_other_nor_batches_without_one(lake):
    lake.append(batch("a"), producer="p", position=1)
    lake.append(batch("b"), producer="q", position=500)
    lake.append(batch("c"))
    lake.append(batch("d"), producer="p", position=2)
    assert lake.watermark == 12
    assert next_position(el.open(lake._chain.storage)._chain, "q") == 501
    assert (lake.next_position("p"), lake.next_position("q"), lake.next_position("r")) == (
        3,
        501,
        None,
    )
    assert lake.verify(deep=True).ok


def test_a_batch_sent_by_two_at_once_is_in_the_lake_once():
    storage = MemoryStorage()
    el.create(storage, "o")
    receipts, start = [], threading.Barrier(4)

    def send():
        mine = el.open(storage)
        start.wait()
        receipts.extend(
            (position, mine.append(batch(f"batch {position}"), producer="p", position=position))
            for position in range(5)
        )

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(receipts) == 20
    assert len(set(receipts)) == 5
    assert el.open(storage).watermark == 15


@pytest.mark.parametrize(
    ("producer", "position"),
    [
        ("p", None),
        (None, 1),
        ("", 1),
        ("p", -1),
        ("p", True),
        ("p", "1"),
        ("a\nb", 1),
        ("x" * 201, 1),
    ],
)
def test_what_is_no_position_is_refused(lake, producer, position):
    with pytest.raises(InvalidInputError):
        lake.append(batch("a"), producer=producer, position=position)
    assert lake.watermark == 0


@pytest.mark.parametrize(("producer", "position"), [("p", None), (None, 1)])
def test_a_producer_without_a_position_is_refused_and_a_position_without_a_producer(
    lake, producer, position
):
    with pytest.raises(InvalidInputError, match="expected a producer with a position, or neither"):
        lake.append(batch("a"), producer=producer, position=position)


def test_an_empty_batch_takes_no_position(lake):
    with pytest.raises(InvalidInputError, match="an empty batch"):
        lake.append([], producer="p", position=0)


def test_the_position_is_part_of_the_sealed_commit(lake):
    lake.append(batch("a"), producer="p", position=3)
    assert [
        str(one.position) for one in el.open(lake._chain.storage).log()[0].commit.deliveries
    ] == ["position 3 of p"]
