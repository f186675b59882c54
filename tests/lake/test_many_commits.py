"""Histories of many commits: tiers stay few, whatever stands in them is found again, and neither opening nor committing grows with them."""

import os
import random
import uuid
from collections import Counter
from itertools import pairwise

import polars as pl
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.core.documents.delivery import Position
from eventlake.core.expectation import is_about
from eventlake.errors import ConflictError, InvalidEventsError
from eventlake.log.appending.append import Terms, append
from eventlake.log.appending.expectations import newest_event
from eventlake.log.appending.positions import next_position
from eventlake.log.appending.read_events import checked_batch
from eventlake.log.chain import unfolded_keys
from eventlake.log.chain.checked_read import bytes_statement
from eventlake.log.chain.limits import LOG_LIMITS
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.unfolded_keys import weight
from eventlake.log.maintaining.fold import keep_folded
from eventlake.log.maintaining.make_tiers import size_class as class_of
from eventlake.storage import MemoryStorage
from eventlake.trust import OWN
from tests.scope import scaled
from tests.support import naive
from tests.support.limits import limited
from tests.support.long_lake import BY_REAL_FOLDS, event, long_lake, position

FOLD_WEIGHT = 40
LARGE = 520
"""Events of a commit that has its keys in a file of its own."""
HEADS = 25
"""A commit of ``Told`` has no more subjects, producers and ids than this."""


class Told:
    """A lake, and what was told to it."""

    def __init__(self, seed, **limits):
        self.dice = random.Random(seed)
        self.storage = MemoryStorage()
        self.limits = limits
        self.lake = limited(el.create(self.storage, "o"), **limits)
        self.events = []
        self.deliveries = []
        self.receipts = []
        self.positions = Counter()

    def batch(self, rows):
        number = len(self.events)
        subjects = [
            None,
            "/",
            "/loan",
            "loan",
            "/loan/1/payment",
            *(f"/loan/{self.dice.randrange(200)}" for _ in range(5)),
        ]
        return [
            {
                "id": f"é{number + row}",
                "source": self.dice.choice(["s", "core"]),
                "type": "t",
                "subject": self.dice.choice(subjects),
            }
            for row in range(rows)
        ]

    def append(self, rows, producer=None):
        batch = self.batch(rows)
        given = self.positions[producer] + 7 if producer else None
        receipt = self.lake.append(batch, producer=producer, position=given)
        self.positions[producer] += 1
        self.receipts.append(receipt)
        if producer:
            self.deliveries.append((producer, given, batch, receipt))
        self.events += batch

    def copy(self, **limits):
        """The lake, as somebody else finds it."""
        storage = MemoryStorage()
        storage._objects = dict(self.storage._objects)
        return limited(el.open(storage), **self.limits | limits)

    def newest(self, wanted, *, subtree):
        about = [
            one
            for one in enumerate(self.events)
            if is_about(one[1].get("subject"), wanted, subtree=subtree)
        ]
        return (about[-1][1]["id"], about[-1][0]) if about else None


@pytest.fixture(scope="module", params=range(1, 1 + scaled(2, 1)))
def told(request):
    """Hundreds of commits of every kind, in small tiers."""
    one = Told(request.param, fold_weight=FOLD_WEIGHT)
    for number in range(260):
        if number == 20:
            one.lake.compact()
        elif number % 61 == 50:
            one.append(LARGE)
        elif number % 40 == 7:
            assert one.lake.resolve(str(uuid.UUID(int=number, version=4))) is None
        else:
            one.append(
                one.dice.choice([1, 1, 1, 2, 5]),
                one.dice.choice([None, "p", "core bank", f"p{number}"]),
            )
    return one


def size_class(of):
    """0 for less than is folded, then one more for every ``tier_ratio`` times as much."""
    classes = 0
    while of >= FOLD_WEIGHT * LOG_LIMITS.tier_ratio**classes:
        classes += 1
    return classes


def test_there_is_one_tier_to_a_size_and_little_that_is_recent(told):
    commits = [entry.commit for entry in told.lake.log()]
    for commit, following in pairwise(commits):
        if commit.kind != "fence":
            assert (following.kind == "fold") == (weight(commit) >= FOLD_WEIGHT)
        sizes = [size_class(tier.weight) for tier in commit.tiers]
        assert sizes == sorted(set(sizes), reverse=True)
        assert len(sizes) <= 3
    assert len(commits[-1].tiers) > 1
    assert sum(commit.kind == "fold" for commit in commits) > 80


@pytest.mark.parametrize("in_parts", [True, False])
def test_every_duplicate_is_refused_wherever_it_stands(told, in_parts):
    for lake in (told.lake, told.copy(lookup_bytes=0 if in_parts else 10**9)):
        again = [{"id": "new", "source": "s", "type": "t"}, *told.events]
        with pytest.raises(InvalidEventsError) as caught:
            lake.append(again)
        assert [problem.row for problem in caught.value.problems] == list(range(1, len(again)))
        for sequence in [0, len(told.events) - 1, *told.dice.sample(range(len(told.events)), 12)]:
            with pytest.raises(InvalidEventsError, match=f"at sequence {sequence:,},"):
                lake.append([told.events[sequence]])
        assert lake.watermark == len(told.events)


def test_what_skips_identical_events_skips_them_wherever_they_stand(told):
    lake = told.copy()
    known = [*told.events[:60], *told.dice.sample(told.events[60:-60], 120), *told.events[-60:]]
    receipt = lake.append(
        [*known, {"id": "new", "source": "s", "type": "t"}], duplicates="skip_identical"
    )
    assert (receipt.start, receipt.stop, receipt.skipped) == (
        len(told.events),
        len(told.events) + 1,
        len(known),
    )


def test_what_skips_identical_events_reads_each_segment_a_bounded_number_of_times():
    storage = Counted({})
    lake = el.create(storage, "o")
    batch = [{"id": str(number), "source": "s", "type": "t"} for number in range(100)]
    lake.append(batch)
    storage.calls = []
    assert lake.append(batch, duplicates="skip_identical").skipped == len(batch)
    assert Counter(path.split("/")[0] for _, path, _ in storage.calls)["segments"] <= 4


def test_every_delivery_that_is_sent_again_gets_its_first_receipt(told):
    lake = told.copy()
    for producer, given, batch, receipt in told.dice.sample(told.deliveries, 40):
        again = lake.append(batch, producer=producer, position=given)
        assert (again.start, again.stop, again.checkpoint) == (
            receipt.start,
            receipt.stop,
            receipt.checkpoint,
        )
    assert lake.watermark == len(told.events)


def test_every_producers_next_position_is_known(told):
    chain = told.copy()._chain
    for producer, sent in told.positions.items():
        if producer:
            assert next_position(chain, producer) == 7 + sent
    assert next_position(chain, "nobody") is None
    with pytest.raises(ConflictError, match="a gap"):
        told.lake.append(told.batch(1), producer="p", position=told.positions["p"] + 8)
    with pytest.raises(ConflictError, match="a step back"):
        told.lake.append(told.batch(1), producer="p", position=2)
    with pytest.raises(ConflictError, match="other events"):
        told.lake.append(told.batch(1), producer="p", position=7)


def test_the_newest_event_about_every_subject_is_known(told):
    chain = told.copy()._chain
    wanted = {one["subject"] for one in told.events if one["subject"]} | {
        "/loan/1",
        "/nothing",
        "loan/1",
        "/loan/",
    }
    for subject in sorted(wanted):
        for subtree in (False, True):
            found = newest_event(chain, subject, subtree=subtree)
            assert (None if found is None else (found.event_id, found.sequence)) == told.newest(
                subject, subtree=subtree
            )


def test_every_old_commit_is_resolved_and_nothing_is_written_for_it(told):
    lake = told.copy()
    before = len(lake._chain.storage._objects)
    for entry in lake.log():
        receipt = lake.resolve(entry.commit.commit_id)
        assert (receipt.start, receipt.stop, receipt.checkpoint) == (
            entry.commit.start,
            entry.commit.stop,
            entry.commit.checkpoint,
        )
    assert len(lake._chain.storage._objects) == before


def test_a_snapshot_at_any_watermark_shows_the_events_below_it(told):
    for watermark in [0, 1, len(told.events), *told.dice.sample(range(len(told.events)), 10)]:
        snapshot = told.copy().snapshot(watermark)
        assert snapshot.scan(["id"]).collect()["id"].to_list() == [
            one["id"] for one in told.events[:watermark]
        ]
        assert snapshot.checkpoint.root == naive.root(told.events[:watermark])


def test_the_manifest_is_the_one_that_all_commits_add_up_to(told):
    chain = told.copy()._chain
    replayed = Manifest([], []).with_rows(entry.row for entry in chain.entries())
    assert chain.manifest() == replayed == told.lake._chain.manifest()
    assert any(summary.kind == "compact" for summary, _ in replayed.segments)
    for watermark in range(1, len(told.events), 97):
        commit = replayed.commits[replayed.version_of(watermark - 1)]
        assert commit.start < watermark <= commit.stop


def test_the_lake_is_sound_to_the_last_key(told):
    assert told.lake.verify(deep=True).problems == ()


@pytest.mark.thorough
def test_a_compaction_across_tiers_leaves_a_lake_that_is_still_folded(caplog):
    one = Told(3, fold_weight=FOLD_WEIGHT)
    for _ in range(100):
        one.append(1)
    assert len(one.lake._chain.head.commit.tiers) == 2
    one.lake.compact()
    for _ in range(8):
        one.append(1)
    assert weight(one.lake._chain.head.commit) < 2 * FOLD_WEIGHT
    assert [record.message for record in caplog.records] == []
    chain = one.copy()._chain
    assert chain.manifest() == Manifest([], []).with_rows(entry.row for entry in chain.entries())
    assert one.lake.verify(deep=True).problems == ()


def test_a_large_commit_has_its_keys_in_a_file_of_its_own_until_it_is_folded():
    one = Told(4)
    for rows in (1, LOG_LIMITS.inline_keys + 1, 1, 300, 1):
        one.append(rows, "p")
    files = [entry.commit.recent.files for entry in one.lake.log()]
    assert [[(file.start, file.ids) for file in some] for some in files] == [
        [],
        *[[(1, LOG_LIMITS.inline_keys + 1)]] * 4,
    ]
    for lake in (one.lake, one.copy()):
        with pytest.raises(InvalidEventsError) as caught:
            lake.append(one.events)
        assert len(caught.value.problems) == len(one.events)
        for _, given, batch, receipt in one.deliveries:
            assert lake.append(batch, producer="p", position=given).stop == receipt.stop
    for _ in range(unfolded_keys.MOST_FILES):
        one.append(1_200, "p")
    assert [len(entry.commit.recent.files) for entry in one.lake.log()[4:]] == [1, 2, 3, 4, 0]
    assert one.lake.log()[8].commit.kind == "fold"
    for _, given, batch, receipt in one.deliveries:
        assert one.lake.append(batch, producer="p", position=given).stop == receipt.stop
    assert one.lake.verify(deep=True).problems == ()


def test_a_commit_of_fewer_keys_than_may_stand_in_it_has_no_file():
    one = Told(6)
    one.append(LOG_LIMITS.inline_keys - HEADS)
    assert one.lake.log()[0].commit.recent.files == ()
    with pytest.raises(InvalidEventsError) as caught:
        one.copy().append(one.events)
    assert len(caught.value.problems) == len(one.events)


def test_large_commits_one_after_the_other_are_folded_too():
    one = Told(5, inline_keys=2, fold_weight=200)
    for _ in range(40):
        one.append(one.dice.choice([1, 3, 5]), one.dice.choice([None, "p"]))
    commits = [entry.commit for entry in one.lake.log()]
    assert max(len(commit.recent.files) for commit in commits) > 3
    assert all(weight(commit) < 200 + unfolded_keys.COMMIT_WEIGHT + HEADS for commit in commits)
    for lake in (one.lake, one.copy()):
        with pytest.raises(InvalidEventsError) as caught:
            lake.append(one.events)
        assert len(caught.value.problems) == len(one.events)
    for subject in ("/", "/loan", "/loan/1", "loan"):
        found = newest_event(one.copy()._chain, subject, subtree=True)
        assert (None if found is None else (found.event_id, found.sequence)) == one.newest(
            subject, subtree=True
        )
    assert one.lake.verify(deep=True).problems == ()


# What opening a lake of very many commits reads, and its next commit.

OBJECTS = 6
BYTES = 64 << 10
SOAK = float(os.environ.get("EVENTLAKE_SOAK_SECONDS", "0"))
NOW = 1_800_000_000_000_000
PLAIN = Terms()


class Counted(MemoryStorage):
    """Memory that remembers what was read. The user who reads has hashed its key files before."""

    def __init__(self, objects):
        super().__init__()
        self._objects = dict(objects)
        self.calls = []
        hashed = ((layout.keys_sha256(path), self.state(path)) for path in objects)
        OWN.ledger.note(bytes_statement(sha256, state) for sha256, state in hashed if sha256)

    def state(self, path):
        """The same for every copy of a lake."""
        return ("counted", len(self._objects[path])) if path in self._objects else None

    def read(self, path):
        """As memory."""
        self.calls.append(("read", path, len(self._objects.get(path, b""))))
        return super().read(path)

    def read_ranges(self, path, ranges):
        """As memory."""
        found = super().read_ranges(path, ranges)
        self.calls.append(("read_ranges", path, sum(map(len, found))))
        return found

    def exists(self, path):
        """As memory."""
        self.calls.append(("exists", path, 0))
        return super().exists(path)

    def list(self, prefix):
        """As memory."""
        self.calls.append(("list", prefix, 0))
        return super().list(prefix)

    @property
    def objects(self):
        """Paths of which something was read."""
        return {path for _, path, size in self.calls if size}

    @property
    def size_bytes(self):
        """Bytes that were read."""
        return sum(size for _, _, size in self.calls)

    def assert_in_budget(self, asked=0):
        """Few objects, besides so many that were asked for."""
        verbs = Counter(verb for verb, _, _ in self.calls)
        assert verbs["list"] == 0
        assert len(self.objects) <= OBJECTS + asked, self.objects
        assert self.size_bytes <= BYTES, verbs


@pytest.fixture(
    scope="module",
    params=[
        scaled(10_000, 3_000),
        pytest.param(
            100_000,
            marks=[
                pytest.mark.skipif(not SOAK, reason="takes minutes: make soak"),
                pytest.mark.timeout(900),
            ],
        ),
    ],
)
def long(request):
    """``(objects, events)`` of a long lake."""
    storage, events = long_lake(request.param)
    return storage._objects, events


def fresh(rows):
    return checked_batch(
        [
            {"id": f"new {row}", "source": "s", "type": "t", "subject": f"/new/{row}"}
            for row in range(rows)
        ]
    )


def committed(long, rows, terms=PLAIN):
    """The storage after a lake was opened and has taken its next commit, before anything is folded."""
    storage = Counted(long[0])
    chain = el.open(storage)._chain
    assert append(chain, fresh(rows), NOW, terms).stop == long[1] + rows
    return storage, chain


@pytest.mark.thorough
def test_a_long_lake_is_shaped_as_eventlake_shapes_it(long):
    chain = el.open(Counted(long[0]))._chain
    head = chain.head.commit
    sizes = [class_of(chain, tier.weight) for tier in head.tiers]
    assert len(sizes) > 1
    assert sizes == sorted(set(sizes), reverse=True)
    assert head.recent.start >= head.version - LOG_LIMITS.fold_weight // unfolded_keys.COMMIT_WEIGHT
    assert head.stop == long[1]


@pytest.mark.thorough
def test_a_lake_of_two_thousand_commits_made_so_is_sound_to_the_last_key():
    commits = scaled(2_000, 400)
    storage, events = long_lake(commits)
    report = el.open(storage).verify(deep=True)
    assert (report.problems, report.commits, report.segments) == ((), commits, events)


@pytest.mark.thorough
def test_the_manifest_of_a_lake_made_so_is_the_one_that_all_commits_add_up_to():
    storage, _ = long_lake(BY_REAL_FOLDS + 500)
    lake = el.open(storage)
    assert lake._chain.manifest() == Manifest([], []).with_rows(
        entry.row for entry in lake._chain.entries()
    )


def test_opening_reads_three_objects(long):
    storage = Counted(long[0])
    el.open(storage)
    assert {path.split("/")[0] for path in storage.objects} == {"lake.json", "hint", "log"}
    assert len(storage.calls) <= OBJECTS
    assert storage.size_bytes < 8_192


def test_opening_without_a_hint_finds_the_newest_commit_in_some_forty_questions(long):
    storage = Counted(long[0])
    del storage._objects["hint"]
    assert el.open(storage)._chain.watermark == long[1]
    assert Counter(verb for verb, _, _ in storage.calls)["exists"] < 40
    assert len(storage.objects) == 2


def test_the_next_commit_of_one_event_reads_few_objects(long):
    storage, _ = committed(long, 1)
    storage.assert_in_budget()


def test_the_next_commit_of_a_hundred_events_reads_few_objects(long):
    storage, _ = committed(long, 100)
    storage.assert_in_budget()


def test_the_next_commit_of_a_hundred_events_asks_the_store_a_bounded_number_of_times(long):
    storage, _ = committed(long, 100)
    assert len(storage.calls) <= 50


def test_the_next_commit_with_a_position_and_an_expectation_that_nothing_is_there_reads_few_objects(
    long,
):
    expect = (
        el.pristine("/new/0"),
        el.pristine("/elsewhere", subtree=True),
        el.at_watermark(long[1]),
    )
    committed(long, 1, Terms(Position("new producer", 5), expect))[0].assert_in_budget()


@pytest.fixture(scope="module")
def bulky():
    """``(objects, events)`` after every commit of a lake of large ones."""
    storage = MemoryStorage()
    lake = el.create(storage, "o")
    history = []
    for number, rows in enumerate([70_000, *[3_000] * 16]):
        lake.append(
            pl.DataFrame({"id": [f"{number}/{row}" for row in range(rows)]}).with_columns(
                source=pl.lit("s"), type=pl.lit("t")
            )
        )
        history.append((dict(storage._objects), lake.watermark))
    return history


@pytest.mark.thorough
def test_a_lake_of_large_commits_has_few_files_of_keys_and_folds_not_at_every_one(bulky):
    heads = [el.open(Counted(objects))._chain.head.commit for objects, _ in bulky]
    assert (
        max(len(head.tiers) + len(head.recent.files) for head in heads) == unfolded_keys.MOST_FILES
    )
    assert max(len(head.tiers) for head in heads) > 1
    assert 1 < sum(head.kind == "fold" for head in heads) < len(heads) / 2


def test_the_next_commit_after_large_ones_reads_few_objects(bulky):
    for history in bulky:
        committed(history, 100)[0].assert_in_budget()


def old_producer(events):
    """A producer, and its next position."""
    given = [position(number) for number in range(0, events, 5)]
    return Position("p3", sum(one.producer == "p3" for one in given))


def test_the_next_commit_of_a_known_producer_reads_few_objects_and_the_commit_before_it(long):
    committed(long, 1, Terms(old_producer(long[1])))[0].assert_in_budget(asked=1)


@pytest.mark.parametrize("where", ["first", "newest"])
def test_the_next_commit_with_an_expectation_of_a_known_subject_reads_few_objects(long, where):
    number = 2 if where == "first" else long[1] - 1
    one = event(number)
    committed(long, 1, Terms(None, (el.on_event(one["subject"], one["id"]),)))[0].assert_in_budget(
        asked=2
    )


def test_a_delivery_that_is_sent_again_reads_few_objects(long):
    storage = Counted(long[0])
    receipt = append(
        el.open(storage)._chain, checked_batch([event(5 * 3)]), NOW, Terms(position(15))
    )
    assert (receipt.start, receipt.stop) == (15, 16)
    storage.assert_in_budget(asked=2)


def test_refusing_one_duplicate_reads_few_objects(long):
    storage = Counted(long[0])
    with pytest.raises(InvalidEventsError, match="at sequence 1,000"):
        append(el.open(storage)._chain, checked_batch([event(1_000)]), NOW, PLAIN)
    # Its commit and segment, and in a lake of more than 65,536 commits the one beside it as well.
    storage.assert_in_budget(asked=2 if long[1] < 65_536 else 4)


def test_resolving_an_old_commit_reads_few_objects(long):
    storage = Counted(long[0])
    assert el.open(storage).resolve(str(uuid.UUID(int=5, version=4))).stop == 6
    storage.assert_in_budget(asked=1)


def test_a_writer_that_stays_reads_little_for_each_of_its_commits_folds_included(long):
    storage = Counted(long[0])
    chain = el.open(storage)._chain
    before = chain.next_version
    for number in range(130):
        append(
            chain, checked_batch([{"id": f"new {number}", "source": "s", "type": "t"}]), NOW, PLAIN
        )
        keep_folded(chain)
    assert chain.next_version - before > 130, "it is folded on the way"
    assert storage.size_bytes / 130 < BYTES
    # For each commit the one before it, and less than one more.
    assert len(storage.objects) < 2 * 130
