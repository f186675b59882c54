"""Lakes that are moved, deleted, replaced or copied while a process has them open."""

import shutil

import pytest

import eventlake as el
from eventlake.errors import ConflictError, NotFoundError

SPENT = el.Projection.sql(
    "spent", "SELECT subject, count(*) AS events FROM paid GROUP BY subject", key=["subject"]
)


def event(n):
    return {"id": f"e{n}", "source": "till", "type": "paid", "subject": "/loan/1", "data": {"n": n}}


@pytest.fixture
def lake(tmp_path):
    made = el.create(tmp_path / "lake", "tests.eventlake/moving")
    made.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    made.append([event(n) for n in range(3)])
    return made


@pytest.mark.parametrize(
    "write",
    [
        lambda lake: lake.append([event(9)]),
        lambda lake: lake.register(
            "missed", {"type": "object", "properties": {"n": {"type": "integer"}}}
        ),
    ],
    ids=["append", "register"],
)
@pytest.mark.parametrize(
    "gone",
    [lambda path: path.rename(path.with_name("elsewhere")), shutil.rmtree],
    ids=["moved", "deleted"],
)
def test_nothing_is_acknowledged_where_the_lake_no_longer_is(lake, tmp_path, write, gone):
    gone(tmp_path / "lake")
    with pytest.raises(NotFoundError, match=r"there is no lake in .* any more") as refused:
        write(lake)
    assert refused.value.hint.startswith("it was moved or deleted while it was open")
    assert not list((tmp_path / "lake").rglob("log/*.json"))


def test_a_writer_of_a_lake_that_was_deleted_acknowledges_nothing(lake, tmp_path):
    with lake.writer() as writer:
        writer.append([event(3)]).result()
        shutil.rmtree(tmp_path / "lake")
        with pytest.raises(NotFoundError, match="any more"):
            writer.append([event(4)]).result()


def test_nothing_is_appended_to_another_lake_in_the_same_place(lake, tmp_path):
    shutil.rmtree(tmp_path / "lake")
    other = el.create(tmp_path / "lake", "tests.eventlake/other")
    other.append([event(7)])
    other.append([event(8)])
    with pytest.raises(ConflictError, match="is another one now"):
        lake.append([event(9)])
    assert [
        one["id"] for one in el.open(tmp_path / "lake").snapshot().scan().collect().to_dicts()
    ] == ["e7", "e8"]
    assert el.open(tmp_path / "lake").verify(deep=True).ok


def test_an_empty_lake_that_was_replaced_takes_nothing_of_the_one_before(tmp_path):
    first = el.create(tmp_path / "lake", "tests.eventlake/first")
    shutil.rmtree(tmp_path / "lake")
    el.create(tmp_path / "lake", "tests.eventlake/second")
    with pytest.raises(ConflictError, match="is another one now"):
        first.append([event(1)])
    assert el.open(tmp_path / "lake").watermark == 0


def test_a_lake_that_was_moved_is_the_same_where_it_is_now(lake, tmp_path):
    dataset = lake.build(SPENT)
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    moved = el.open(tmp_path / "elsewhere")
    assert moved.checkpoint == lake.checkpoint
    assert moved.dataset("spent").polars().rows() == [("/loan/1", 3)]
    assert moved.reproduce(dataset.manifest_hash).identical
    assert moved.snapshot().table("paid").collect()["n"].to_list() == [0, 1, 2]
    assert moved.append([event(3)]).stop == 4
    assert moved.verify(deep=True).ok


def test_two_copies_in_one_process_keep_their_histories_apart(lake, tmp_path):
    shutil.copytree(tmp_path / "lake", tmp_path / "copy")
    copy = el.open(tmp_path / "copy")
    lake.append([event(10)])
    copy.append([event(11)])
    largest = [
        one.snapshot().sql("SELECT max(n) AS n FROM paid").polars()["n"].item()
        for one in (lake, copy)
    ]
    assert largest == [10, 11]
    assert not copy.verify(against=lake.checkpoint).ok
    assert lake.build(SPENT).recipe_hash != copy.build(SPENT).recipe_hash
