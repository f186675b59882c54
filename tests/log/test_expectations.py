"""What a writer expects of the history is checked at the very commit, at any age of that history."""

import random
import threading

import numpy as np
import pytest

import eventlake as el
from eventlake.columns.keys import keys
from eventlake.core import layout
from eventlake.errors import ConflictError, InvalidEventsError, InvalidInputError
from eventlake.log.maintaining.fold import fold
from eventlake.storage import LocalStorage, MemoryStorage
from tests.scope import STORAGES, scaled
from tests.support.dataset_fixtures import Hooked
from tests.support.limits import SMALL_TIERS, limited
from tests.support.rivals import Rivalled


def event(name, subject=None, **more):
    return (
        {"id": name, "source": "s", "type": "t"}
        | ({} if subject is None else {"subject": subject})
        | more
    )


@pytest.fixture(params=STORAGES)
def lake(request, tmp_path):
    return el.create("memory://" if request.param == "memory" else tmp_path / "lake", "o")


class Probe:
    """Asks whether expectations hold by appending an event without a subject that expects them."""

    def __init__(self, lake):
        self.lake = lake
        self.number = 0

    def holds(self, *expected):
        """Whether all of them do; where not, nothing may have been appended."""
        before, self.number = self.lake.watermark, self.number + 1
        try:
            receipt = self.lake.append([event(f"probe-{self.number}")], expect=expected)
        except ConflictError:
            assert self.lake.watermark == before
            return False
        assert (receipt.start, receipt.stop) == (before, before + 1)
        return True


# One expectation


def test_a_subject_is_pristine_until_an_event_is_about_it(lake):
    lake.append([event("a", "/loan/7")], expect=[el.pristine("/loan/7")])
    with pytest.raises(ConflictError):
        lake.append([event("b", "/loan/7")], expect=[el.pristine("/loan/7")])
    lake.append([event("b", "/loan/8")], expect=[el.pristine("/loan/8")])
    assert lake.watermark == 2


def test_a_subject_is_populated_once_an_event_is_about_it(lake):
    with pytest.raises(ConflictError):
        lake.append([event("a", "/loan/7")], expect=[el.populated("/loan/7")])
    lake.append([event("a", "/loan/7")])
    lake.append([event("b", "/loan/7")], expect=[el.populated("/loan/7")])
    assert lake.watermark == 2


def test_the_newest_event_about_a_subject_is_the_last_one_in_sequence_order(lake):
    lake.append([event("first", "/loan/7"), event("second", "/loan/7"), event("other", "/loan/8")])
    probe = Probe(lake)
    assert probe.holds(el.on_event("/loan/7", "second"))
    assert not probe.holds(el.on_event("/loan/7", "first"))
    lake.append([event("below", "/loan/7/payment/1")])
    assert probe.holds(el.on_event("/loan/7", "second"))
    assert probe.holds(el.on_event("/loan/7", "below", subtree=True))
    assert not probe.holds(el.on_event("/loan/7", "second", subtree=True))
    lake.append([event("third", "/loan/7")])
    assert probe.holds(
        el.on_event("/loan/7", "third", subtree=True), el.on_event("/loan/7", "third")
    )


def test_no_event_is_the_newest_one_about_a_subject_that_has_none(lake):
    lake.append([event("a", "/loan/7")])
    assert not Probe(lake).holds(el.on_event("/loan/8", "a"))
    assert not Probe(lake).holds(el.on_event("/loan/7/x", "a", subtree=True))


def test_a_watermark_is_expected_exactly(lake):
    probe = Probe(lake)
    assert probe.holds(el.at_watermark(0))
    assert [probe.holds(el.at_watermark(number)) for number in (0, 2, 1)] == [False, False, True]


def test_commits_without_events_change_nothing_that_can_be_expected(lake):
    lake.append([event("a", "/a")])
    fold(lake._chain)
    lake.resolve("00000000-0000-4000-8000-000000000000")
    assert Probe(lake).holds(el.at_watermark(1), el.on_event("/a", "a"), el.pristine("/b"))


ABOUT = [
    ("/loan/7", "/loan/7", True, True),
    ("/loan/7", "/loan/77", False, False),
    ("/loan/77", "/loan/7", False, False),
    ("/loan/7/payment/1", "/loan/7", False, True),
    ("/loan/7", "/loan/7/payment", False, False),
    ("/loan/7", "/loan", False, True),
    ("/loan/7", "/loa", False, False),
    ("/loan/7", "/", False, True),
    ("/loan/7", "/loan/7/", False, False),
    ("/loan/7/", "/loan/7/", True, True),
    ("/loan/7/", "/loan/7", False, True),
    ("/loan/7/", "/loan", False, True),
    ("/", "/", True, True),
    ("//", "/", False, True),
    ("//a", "/", False, True),
    ("/a//b", "/a", False, True),
    ("/a//b", "/a/", False, True),
    ("/a/b", "/a/", False, False),
    ("/a/b", "/a//", False, False),
    ("loan/7", "loan", False, True),
    ("loan/7", "/loan", False, False),
    ("loan/7", "/", False, False),
    ("loan", "/", False, False),
    ("/Loan/7", "/loan/7", False, False),
    ("/ünï/✓", "/ünï", False, True),
    ("/a b/%2F", "/a b", False, True),
    ("/" + "x/" * 200 + "x", "/x/x/x", False, True),
]


@pytest.mark.parametrize("folded", [False, True], ids=["recent", "folded"])
@pytest.mark.parametrize(("subject", "wanted", "alone", "below"), ABOUT)
def test_what_an_event_is_about_ends_at_a_slash(subject, wanted, alone, below, folded):
    lake = el.create("memory://", "o")
    lake.append([event("it", subject)])
    if folded:
        fold(lake._chain)
    probe = Probe(el.open(lake._chain.storage))
    for subtree, about in ((False, alone), (True, below)):
        assert probe.holds(el.populated(wanted, subtree=subtree)) == about
        assert probe.holds(el.pristine(wanted, subtree=subtree)) == (not about)
        assert probe.holds(el.on_event(wanted, "it", subtree=subtree)) == about


def test_an_event_without_a_subject_is_below_nothing(lake):
    lake.append([event("a")])
    assert Probe(lake).holds(el.pristine("/", subtree=True), el.pristine("a", subtree=True))


def test_events_without_a_subject_in_the_same_commit_are_passed_over(lake):
    lake.append([event("a", "/x/1"), event("b")])
    assert Probe(lake).holds(
        el.on_event("/x/1", "a"),
        el.on_event("/x", "a", subtree=True),
        el.populated("/", subtree=True),
    )


def test_events_of_a_group_commit_and_of_a_large_batch_are_looked_at_too(lake):
    with lake.writer(max_delay=0.1) as writer:
        futures = [writer.append([event(f"g{n}", f"/group/{n % 2}")]) for n in range(6)]
    assert [future.result().start for future in futures] == list(range(6))
    lake.append([event(f"l{n}", f"/large/{n % 7}") for n in range(1_200)])
    probe = Probe(el.open(lake._chain.storage))
    assert probe.holds(el.on_event("/group/1", "g5"), el.on_event("/group", "g5", subtree=True))
    assert probe.holds(
        el.on_event("/large/6", "l1196"),
        el.on_event("/large", "l1199", subtree=True),
        el.pristine("/large/7"),
    )


# What is said, and what is refused


def test_the_error_says_what_was_expected_and_what_was_found(lake):
    lake.append([event("first"), event("paid", "/loan/7"), event("late", "/loan/7/fee")])
    said = {
        el.pristine("/loan/7"): "expected no event about /loan/7, found 'paid' at sequence 1",
        el.pristine(
            "/loan", subtree=True
        ): "expected no event about /loan and below it, found 'late' at sequence 2",
        el.populated("/loan/8"): "expected an event about /loan/8, found none",
        el.populated("/x", subtree=True): "expected an event about /x and below it, found none",
        el.on_event(
            "/loan/7", "x"
        ): "expected 'x' to be the newest event about /loan/7, found 'paid' at sequence 1",
        el.on_event(
            "/loan/8", "x"
        ): "expected 'x' to be the newest event about /loan/8, found none",
        el.on_event("/loan/7", "paid", subtree=True): (
            "expected 'paid' to be the newest event about /loan/7 and below it, found 'late' at sequence 2"
        ),
        el.at_watermark(1_234): "expected watermark 1,234, found 3",
    }
    for expected, message in said.items():
        with pytest.raises(ConflictError) as caught:
            lake.append([event("new")], expect=[expected])
        assert caught.value.message == message
        assert caught.value.facts == {"failed": [message]}
        assert "read what has happened" in caught.value.hint
    with pytest.raises(ConflictError) as caught:
        lake.append([event("new")], expect=list(said))
    assert caught.value.facts == {"failed": list(said.values())}
    assert caught.value.message == "; ".join(said.values())


def test_all_expectations_must_hold_and_only_those_that_do_not_are_named(lake):
    lake.append([event("a", "/a")])
    holding = [el.populated("/a"), el.at_watermark(1), el.on_event("/a", "a"), el.pristine("/b")]
    with pytest.raises(ConflictError) as caught:
        lake.append([event("b", "/b")], expect=[*holding[:2], el.pristine("/a"), *holding[2:]])
    assert caught.value.facts["failed"] == ["expected no event about /a, found 'a' at sequence 0"]
    assert lake.append([event("b", "/b")], expect=iter(holding)).start == 1


def test_a_refused_batch_stores_nothing(lake):
    lake.append([event("a", "/a")])
    before = [item.path for item in lake._chain.storage.list("")]
    with pytest.raises(ConflictError):
        lake.append([event("b", "/a")], expect=[el.pristine("/a")])
    assert [item.path for item in lake._chain.storage.list("")] == before


def test_the_events_of_the_batch_itself_are_not_looked_at(lake):
    lake.append(
        [event("a", "/a"), event("b", "/a")], expect=[el.pristine("/a"), el.at_watermark(0)]
    )
    assert lake.watermark == 2


@pytest.mark.parametrize("given", [None, "", 7, b"/a", ["/a"]])
def test_a_subject_and_an_event_id_are_texts(given):
    for make in (
        el.pristine,
        el.populated,
        lambda subject: el.on_event(subject, "a"),
        lambda name: el.on_event("/a", name),
    ):
        with pytest.raises(InvalidInputError, match=r"expected a (subject|event id), found"):
            make(given)


@pytest.mark.parametrize("given", [-1, True, 1.0, "1", None])
def test_a_watermark_is_a_number_from_0(given):
    with pytest.raises(InvalidInputError, match="expected a watermark from 0"):
        el.at_watermark(given)


@pytest.mark.parametrize(
    "given", [el.pristine("/a"), ["/a"], [None], [el.pristine("/a"), "x"], "x", {"pristine": "/a"}]
)
def test_what_is_no_list_of_expectations_is_refused(lake, given):
    with pytest.raises(InvalidInputError, match=r"expected (a list of|an) expectation"):
        lake.append([event("a")], expect=given)
    assert lake.watermark == 0


@pytest.mark.parametrize("given", [None, 5])
def test_what_cannot_be_iterated_is_refused_as_well(given):
    with pytest.raises(InvalidInputError):
        el.create("memory://", "o").append([event("a")], expect=given)


def test_a_batch_that_breaks_the_rules_is_refused_for_that(lake):
    with pytest.raises(InvalidEventsError):
        lake.append([{"id": "a"}], expect=[el.populated("/a")])


def test_a_batch_of_a_producer_that_is_in_the_lake_gets_its_receipt_whatever_it_expects(lake):
    events, expected = [event("a", "/a")], [el.pristine("/a"), el.at_watermark(0)]
    first = lake.append(events, producer="p", position=0, expect=expected)
    assert lake.append(events, producer="p", position=0, expect=expected) == first
    with pytest.raises(ConflictError, match="expected no event about /a"):
        lake.append([event("b", "/a")], producer="p", position=1, expect=expected[:1])
    assert (
        lake.append(
            [event("b", "/a")], producer="p", position=1, expect=[el.on_event("/a", "a")]
        ).start
        == 1
    )


# Inside the commit


def test_what_held_when_the_batch_was_stored_must_hold_at_the_commit():
    storage = Rivalled()
    lake = el.create(storage, "o")
    lake.append([event("a", "/a")])
    refused = {
        el.pristine("/b"): "found 'r0' at sequence 1",
        el.on_event("/a", "a"): "found 'r1' at sequence 2",
        el.pristine("/c", subtree=True): "found 'r2' at sequence 3",
        el.at_watermark(4): "found 5",
    }
    subjects = ["/b", "/a", "/c/1/2", "/d"]
    for number, (expected, found) in enumerate(refused.items()):
        storage.rivals = [[event(f"r{number}", subjects[number])]]
        with pytest.raises(ConflictError, match=found):
            lake.append([event("ours")], expect=[expected])
        assert lake.watermark == number + 2
    assert lake.verify(deep=True).ok


def test_rivals_that_do_not_touch_what_is_expected_are_followed():
    storage = Rivalled()
    lake = el.create(storage, "o")
    storage.rivals = [[event(f"r{number}", f"/loan/7{number}")] for number in range(4)]
    receipt = lake.append(
        [event("ours", "/loan/7")],
        expect=[el.pristine("/loan/7", subtree=True), el.pristine("/loan/70/x")],
    )
    assert receipt.start == 4
    assert lake.snapshot().scan().collect()["id"].to_list() == ["r0", "r1", "r2", "r3", "ours"]


def test_a_fold_and_a_compaction_between_check_and_commit_are_followed():
    inner = MemoryStorage()
    el.create(inner, "o").append([event("a", "/a")])
    el.open(inner).append([event("b", "/a/b")])
    meddlers = [
        lambda: fold(el.open(inner)._chain),
        lambda: el.open(inner).compact(),
        lambda: fold(el.open(inner)._chain),
    ]

    def before(path, data):
        if layout.commit_version(path) is not None and meddlers:
            meddlers.pop(0)()

    lake = el.open(Hooked(inner, before=before))
    receipt = lake.append(
        [event("c", "/a")],
        expect=[el.on_event("/a", "a"), el.on_event("/a", "b", subtree=True), el.at_watermark(2)],
    )
    assert receipt.start == 2
    assert [entry.commit.kind for entry in lake.log()] == [
        "append",
        "append",
        "fold",
        "compact",
        "fold",
        "append",
    ]
    assert lake.verify(deep=True).ok


def race(storage, work, handles=2, threads_each=2, **limits):
    """Runs ``work(lake, number)`` in threads that share a few handles; raises what one of them raised."""
    errors, start = [], threading.Barrier(handles * threads_each)

    def run(lake, number):
        try:
            start.wait()
            work(lake, number)
        except Exception as error:  # noqa: BLE001 - told to the thread that waits
            errors.append(error)

    lakes = [limited(el.open(storage), **limits) for _ in range(handles)]
    threads = [
        threading.Thread(target=run, args=(lakes[number % handles], number))
        for number in range(handles * threads_each)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.fixture(params=STORAGES)
def storage(request, tmp_path):
    made = MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path / "lake")
    el.create(made, "o")
    return made


def test_of_those_who_want_a_subject_for_themselves_exactly_one_gets_it(storage):
    rounds, won, lost = 30, [], []
    turns = [threading.Barrier(4) for _ in range(rounds)]

    def work(lake, number):
        for turn in range(rounds):
            turns[turn].wait()
            try:
                receipt = lake.append(
                    [event(f"{turn}-{number}", f"/seat/{turn}")],
                    expect=[el.pristine(f"/seat/{turn}")],
                )
                won.append((turn, number, receipt.start))
            except ConflictError as error:
                lost.append((turn, error.message))

    race(storage, work, **SMALL_TIERS)
    winners = {turn: number for turn, number, _ in won}
    assert len(won) == len(winners) == rounds
    ids = el.open(storage).snapshot().scan().collect()["id"].to_list()
    assert len(ids) == rounds
    assert all(ids[start] == f"{turn}-{number}" for turn, number, start in won)
    assert len(lost) == 3 * rounds
    assert all(f"found '{turn}-{winners[turn]}' at sequence" in message for turn, message in lost)
    assert el.open(storage).verify(deep=True).ok


def test_writers_who_expect_the_event_they_have_seen_make_one_chain(storage):
    el.open(storage).append([event("0", "/counter", data={"after": None})])

    def work(lake, number):
        for step in range(8):
            while True:
                seen = lake.snapshot().scan(["id"], subject="/counter").collect()["id"][-1]
                new = event(f"{number}-{step}", "/counter", data={"after": seen})
                try:
                    lake.append([new], expect=[el.on_event("/counter", seen)])
                    break
                except ConflictError:
                    continue

    race(storage, work, threads_each=1, **SMALL_TIERS)
    frame = (
        el.open(storage)
        .snapshot()
        .sql(
            "select id, json_extract_string(data, '$.after') as after from events order by sequence"
        )
        .polars()
    )
    assert frame["after"].to_list() == [None, *frame["id"].to_list()[:-1]]
    assert sorted(frame["id"]) == sorted(
        ["0", *(f"{number}-{step}" for number in range(2) for step in range(8))]
    )


def test_of_those_who_expect_one_watermark_exactly_one_appends(storage):
    rounds, won = 20, []
    turns = [threading.Barrier(4) for _ in range(rounds)]

    def work(lake, number):
        for turn in range(rounds):
            turns[turn].wait()
            try:
                won.append(
                    (
                        turn,
                        lake.append(
                            [event(f"{turn}-{number}")], expect=[el.at_watermark(turn)]
                        ).start,
                    )
                )
            except ConflictError as error:
                assert error.message == f"expected watermark {turn}, found {turn + 1}"
            turns[turn].wait()

    race(storage, work)
    assert sorted(won) == [(turn, turn) for turn in range(rounds)]


# A long history, against a model


SUBJECTS = [
    None,
    "/",
    "//",
    "a",
    "a/b",
    "/a",
    "/a/",
    "/a/7",
    "/a/77",
    "/a/7/b",
    "/a/7/b/c",
    "/a//7",
    "/b",
    "/b/7",
    "/b/77/x",
    "b",
    "/c",
]
WANTED = [*SUBJECTS[1:], "/a/7/", "/a/777", "/d", "/c/c", "c", "/b/7/x"]


class Model:
    """A list of ``(id, subject)``."""

    def __init__(self):
        self.events = []

    def newest(self, wanted, subtree):
        """The id of the newest event about ``wanted``, or None."""
        prefix = "/" if wanted == "/" else wanted + "/"
        about = [
            name
            for name, subject in self.events
            if subject == wanted or (subtree and subject and subject.startswith(prefix))
        ]
        return about[-1] if about else None

    def holds(self, expected):
        """Whether an expectation holds."""
        if hasattr(expected, "watermark"):
            return len(self.events) == expected.watermark
        newest = self.newest(expected.subject, expected.subtree)
        if hasattr(expected, "event_id"):
            return newest == expected.event_id
        return (newest is None) == (type(expected) is type(el.pristine("/")))

    def draw(self, dice):
        """An expectation that holds about half of the time."""
        wanted, subtree = dice.choice(WANTED), dice.random() < 0.5
        kind = dice.randrange(4)
        if kind == 0:
            return el.at_watermark(max(0, len(self.events) - dice.randrange(2)))
        if kind == 1:
            return el.pristine(wanted, subtree=subtree)
        if kind == 2:
            return el.populated(wanted, subtree=subtree)
        newest = self.newest(wanted, subtree)
        return el.on_event(
            wanted, newest if newest and dice.random() < 0.6 else "0-0", subtree=subtree
        )


def live(seed, commits, questions=2, meddle=lambda storage, dice, step: None, batch_limits=None):
    """Many small commits and questions by two handles, over small tiers; every answer must be the model's. Gives the lake."""

    def opened():
        return limited(el.open(storage), batch=batch_limits, **SMALL_TIERS)

    dice = random.Random(seed)
    storage = MemoryStorage()
    el.create(storage, "o")
    lakes = [opened(), opened()]
    model = Model()
    rare = SUBJECTS[: 6 + seed]
    for step in range(commits):
        for number in range(questions):
            expected = [model.draw(dice) for _ in range(dice.choice([1, 1, 2]))]
            batch = [
                event(f"{step}-{number}-{row}", dice.choice(rare if step > 20 else SUBJECTS[:3]))
                for row in range(dice.choice([1, 2]))
            ]
            try:
                dice.choice(lakes).append(batch, expect=expected)
                held = True
            except ConflictError as error:
                held = False
                assert len(error.facts["failed"]) == sum(not model.holds(one) for one in expected)
            assert held == all(model.holds(one) for one in expected), (step, expected)
            if held:
                model.events += [(one["id"], one.get("subject")) for one in batch]
        batch = [event(f"{step}-{row}", dice.choice(rare)) for row in range(dice.randrange(1, 4))]
        dice.choice(lakes).append(batch)
        model.events += [(one["id"], one.get("subject")) for one in batch]
        if dice.random() < 0.05:
            lakes[dice.randrange(2)] = opened()
        meddle(storage, dice, step)
    assert lakes[0].snapshot().scan(["id", "subject"]).collect().rows() == model.events
    return lakes[0]


@pytest.mark.parametrize("seed", range(scaled(2, 1)))
def test_expectations_over_many_tiers_are_those_of_a_list(seed):
    lake = live(seed, 210, questions=1)
    assert len(lake.log()) > 200
    assert len(lake._chain.head.commit.tiers) > 2
    assert lake.verify(deep=True).ok


@pytest.mark.thorough
def test_expectations_are_those_of_a_list_where_key_files_are_lost():
    def lose(storage, dice, step):
        if step % 12 == 11:
            for item in list(storage.list("keys")):
                if dice.random() < 0.5:
                    storage.delete(item.path)

    lake = live(7, 60, meddle=lose)
    assert len(lake._chain.head.commit.tiers) > 1
    assert {problem.path.partition("/")[0] for problem in lake.verify(deep=True).problems} <= {
        "keys"
    }


@pytest.mark.thorough
def test_expectations_are_those_of_a_list_where_segments_are_compacted_now_and_then():
    def compact(storage, dice, step):
        if step % 12 == 11:
            assert el.open(storage).compact(target_bytes=dice.choice([10_000, 100_000])).made

    lake = live(8, 60, meddle=compact)
    assert lake.verify(deep=True).ok


@pytest.mark.thorough
def test_expectations_are_those_of_a_list_where_fingerprints_are_shared_by_many_subjects(
    monkeypatch,
):
    def coarse(texts):
        return real(texts) & np.uint64(0xF << 60)

    real = keys._hashed
    monkeypatch.setattr(keys, "_hashed", coarse)
    lake = live(11, 40, batch_limits={"few_rows": 0})
    assert len(lake._chain.head.commit.tiers) > 1
    assert lake.verify(deep=True).ok
