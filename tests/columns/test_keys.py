"""Runs of keys and files of them against plain dicts: nothing that was put in is ever missed, and what is told of it is right."""

import io
import tracemalloc
import zlib
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlake.columns.keys import key_files, key_runs, keys
from eventlake.columns.keys.key_merge import Merged, RunSource, merge_into
from eventlake.columns.keys.key_runs import CELLS, KeyRun, distinct, found_ids, merged, of_commit
from eventlake.columns.keys.keys import event_keys, text_key
from eventlake.core import layout
from eventlake.core.documents.delivery import Position
from eventlake.core.documents.manifest import NOTHING_RECENT, KeyFile
from eventlake.core.expectation import is_about
from eventlake.errors import CorruptionError, StorageError
from eventlake.log.chain import unfolded_keys
from eventlake.log.chain.key_blocks import BLOCK_BYTES, KeyBlocks
from eventlake.log.chain.key_index import KeyIndex, recent_run
from eventlake.log.chain.stored_keys import StoredKeys, newest_in
from eventlake.storage import LocalStorage, MemoryStorage
from eventlake.trust import OWN
from tests.scope import examples, some

LETTERS = st.text(st.sampled_from("ab/é🦆\u2028 ,"), max_size=5)
SUBJECTS = (
    st.none()
    | LETTERS
    | st.builds("/loan/{}".format, st.integers(0, 5))
    | st.sampled_from(["/", "//", "/a/", "a/b", "/a//b"])
)
PAIRS = st.tuples(LETTERS, LETTERS)
COMMIT = st.tuples(
    st.lists(st.tuples(PAIRS, SUBJECTS), max_size=4, unique_by=lambda event: event[0]),
    st.lists(
        st.tuples(st.sampled_from(["p", "é", "core bank"]), st.integers(0, 9)),
        max_size=2,
        unique=True,
    ),
)
HISTORIES = st.lists(COMMIT, min_size=1, max_size=7)


def cells_of(found):
    """The cell of each key: its last 16 bits."""
    return (found & np.uint64(CELLS - 1)).astype(np.int64)


def frame(events):
    rows = [
        {"source": source, "id": name, "subject": subject} for (source, name), subject in events
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("source", "id", "subject"), pl.String))


def own(number, commit):
    """The keys of a commit as the log makes them."""
    events, deliveries = commit
    table = frame(events)
    positions = [Position(*delivery) for delivery in deliveries]
    return unfolded_keys.own_keys(
        np.sort(event_keys(table)),
        keys.subject_keys(table) if events else None,
        positions,
        f"commit {number}",
    )


class Model:
    """What the keys must know, in dicts."""

    def __init__(self, history, versions, first=0):
        self.pairs = defaultdict(set)
        self.heads = {}
        self.subjects = defaultdict(set)
        for number, ((events, deliveries), version) in enumerate(
            zip(history, versions, strict=True), first
        ):
            self.heads["commit", f"commit {number}"] = version
            for pair, subject in events:
                self.pairs[pair].add(version)
                if subject is not None:
                    self.heads["subject", subject] = version
                    self.subjects[subject].add(version)
            for producer, position in deliveries:
                self.heads["producer", producer] = version
                self.heads["position", f"{producer}\x1f{position}"] = version

    def newest_about(self, wanted):
        return max(
            (
                max(versions)
                for subject, versions in self.subjects.items()
                if is_about(subject, wanted, subtree=True)
            ),
            default=None,
        )

    def assert_known(self, run):
        for (source, name), versions in self.pairs.items():
            told = cells(run, (source, name))
            assert all(any(version in part for part in told) for version in versions)
            assert all(set(part) & versions for part in told)
            assert all(len(part) <= 1 << run.shift and part.start >= run.start for part in told)
        assert cells(run, ("nobody", "knows this")) == cells(run, ("", "nor this")) == []
        for (kind, text), version in self.heads.items():
            assert newest_in(run, text_key(kind, text)) == version
            assert newest_in(run, text_key(f"un{kind}", text)) is None
        for wanted in {*self.subjects, "/loan", "/a", "a", "/", "nothing"} - {""}:
            found = [newest_in(run, text_key(kind, wanted)) for kind in ("subject", "below")]
            assert max(
                (version for version in found if version is not None), default=None
            ) == self.newest_about(wanted)


def cells(run, pair):
    """The versions that a run suspects of a ``(source, id)``."""
    key = event_keys(frame([(pair, None)]))
    return [run.versions_of(int(cell)) for cell in cells_of(found_ids(run.ids, key))]


def merged_somehow(data, runs, stops):
    """Neighbouring runs merged, and merged again, until one is left."""
    while len(runs) > 1:
        first = data.draw(st.integers(0, len(runs) - 2))
        last = data.draw(st.integers(first + 2, len(runs)))
        runs[first:last] = [merged(runs[first:last], stops[last - 1])]
        stops[first:last] = [stops[last - 1]]
    return merged(runs, stops[-1])


@given(HISTORIES, st.integers(0, 1 << 31), st.data())
def test_merged_runs_of_merged_runs_know_what_a_dict_knows(history, start, data):
    versions = [start + number for number in range(len(history))]
    runs = [
        own(number, commit).at(version)
        for number, (commit, version) in enumerate(zip(history, versions, strict=True))
    ]
    run = merged_somehow(data, runs, [version + 1 for version in versions])
    assert (run.start, run.shift) == (start, 0)
    Model(history, versions).assert_known(run)


@given(
    HISTORIES,
    st.integers(0, 1 << 20),
    st.lists(st.integers(0, 700_000), min_size=7, max_size=7),
    st.data(),
)
def test_runs_over_more_commits_than_cells_know_what_a_dict_knows(history, start, gaps, data):
    versions = [
        int(version)
        for version in start + np.cumsum([0, *(gap + 1 for gap in gaps[: len(history) - 1])])
    ]
    runs = [
        own(number, commit).at(version)
        for number, (commit, version) in enumerate(zip(history, versions, strict=True))
    ]
    stops = [*versions[1:], versions[-1] + 1]
    run = merged_somehow(data, runs, stops)
    assert (stops[-1] - 1 >> run.shift) - (start >> run.shift) < CELLS
    assert not run.shift or (stops[-1] - 1 >> run.shift - 1) - (start >> run.shift - 1) >= CELLS, (
        "coarser than need be"
    )
    Model(history, versions).assert_known(run)


@pytest.mark.parametrize("start", [0, 1, 3, 65_535, 65_536, 1_000_003])
@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 131_072, 131_073, 1_000_000])
def test_the_first_and_the_last_commit_of_a_run_are_told_at_the_bounds_of_its_shift(start, length):
    runs = [
        own(number, ([(("s", f"e{number}"), None)], [])).at(version)
        for number, version in enumerate((start, start + length - 1))
    ]
    run = merged(runs, start + length)
    aligned = (start + length - 1 >> run.shift) - (start >> run.shift)
    assert aligned < CELLS
    for number, version in enumerate((start, start + length - 1)):
        (told,) = cells(run, ("s", f"e{number}"))
        assert version in told
        assert len(told) <= 1 << run.shift


def test_a_run_merged_into_a_coarser_one_keeps_the_order_of_its_keys():
    dice = np.random.default_rng(5)
    ids = np.sort(dice.integers(0, 1 << 48, 5_000, np.uint64) << np.uint64(16))
    fine = of_commit(70_000, ids, ids[:0])
    coarse = merged([of_commit(0, ids, ids[:0]), fine], 1 << 20)
    assert coarse.shift == 4
    assert np.array_equal(coarse.ids, np.sort(coarse.ids))
    assert set(np.unique(cells_of(coarse.ids)).tolist()) == {0, 70_000 >> 4}


@given(st.lists(st.tuples(LETTERS | st.none(), st.integers(0, 50)), min_size=1, max_size=30))
def test_the_subjects_of_many_commits_at_once_have_the_keys_that_they_have_one_by_one(told):
    subjects, versions = (
        pl.Series([one[at] for one in told], dtype=kind)
        for at, kind in ((0, pl.String), (1, pl.UInt32))
    )
    together = key_runs.newest_of(*keys.subject_heads(subjects, versions))
    newest = {}
    for subject, version in sorted(told, key=lambda one: one[1]):
        newest |= (
            dict.fromkeys(keys.subject_keys(frame([(("s", "e"), subject)])).tolist(), version)
            if subject is not None
            else {}
        )
    assert dict(zip(together[0].tolist(), together[1].tolist(), strict=True)) == newest


def test_empty_text_nothing_and_texts_run_together_have_keys_of_their_own():
    texts = ["", " ", "a", "é", "e\u0301", "🦆", "a" * 5_000, "a\x1fb", "b"]
    kinds = ("subject", "below", "producer", "position", "commit")
    assert len({text_key(kind, text) for kind in kinds for text in texts}) == len(kinds) * len(
        texts
    )
    pairs = [
        ("", ""),
        ("a", ""),
        ("", "a"),
        ("a", "a"),
        ("ab", "c"),
        ("a", "bc"),
        ("bc", "a"),
        ("c", "ab"),
    ]
    assert len(set(event_keys(frame([(pair, None) for pair in pairs])).tolist())) == len(pairs)
    assert len(keys.subject_keys(frame([(("s", "a"), None), (("s", "b"), None)]))) == 0


@given(HISTORIES, st.integers(0, 1 << 20), st.data())
@settings(max_examples=examples(40))
def test_what_is_recent_knows_what_a_dict_knows_and_forgets_what_is_folded(history, start, data):
    states = [unfolded_keys.Recent(start)]
    large = [data.draw(st.booleans()) for _ in history]
    storage = MemoryStorage()
    runs = []
    for number, commit in enumerate(history):
        keyed = own(number, commit)
        given_keys = unfolded_keys.store(storage, keyed.at(0)) if large[number] else keyed
        states.append(unfolded_keys.recent_after(states[-1], start + number, given_keys))
        runs.append(keyed.at(start + number))
    for first in range(len(history)):
        left = unfolded_keys.recent_since(states[-1], start + first)
        files = [file for file in left.files if file.start >= start + first]
        assert len(files) == sum(large[first:])
        stored = [StoredKeys(storage, file, file.start + 1, _no_need).whole() for file in files]
        run = merged([recent_run(left), *stored], start + len(history))
        Model(history[first:], range(start + first, start + len(history)), first).assert_known(run)


def _no_need(start, stop):
    raise AssertionError((start, stop))


def test_more_commits_than_cells_that_nobody_folded_are_refused_and_not_confused():
    commit = own(0, ([(("s", "e"), None)], []))
    assert unfolded_keys.recent_after(NOTHING_RECENT, CELLS - 1, commit).ids != b""
    with pytest.raises(StorageError, match="not folded"):
        unfolded_keys.recent_after(NOTHING_RECENT, CELLS, commit)


# Key files


def numbers(count, seed=1, bits=48):
    """Sorted keys of cell 0, some twice; with fewer bits they crowd into few buckets."""
    dice = np.random.default_rng(seed)
    drawn = dice.integers(0, 1 << bits, count, np.uint64) << np.uint64(16)
    if count > 3:
        drawn[1] = drawn[0]
        drawn[2], drawn[3] = 0, 0xFFFF_FFFF_FFFF_0000
    return np.sort(drawn)


def a_run(ids, heads, *, start=100, bits=48):
    head_keys = key_runs.distinct(numbers(heads, seed=2, bits=bits))
    versions = (start + np.arange(len(head_keys)) * 7 % 1_000).astype(np.uint32)
    return KeyRun(
        start,
        0,
        numbers(ids, bits=bits) | np.arange(ids, dtype=np.uint64) % np.uint64(3),
        head_keys,
        versions,
    )


def sorted_run(ids, heads, **more):
    run = a_run(ids, heads, **more)
    return KeyRun(run.start, run.shift, np.sort(run.ids), run.heads, run.versions)


def stored(run, storage=None):
    """``(storage, KeyFile)`` of a run."""
    storage = storage or MemoryStorage()
    return storage, unfolded_keys.store(storage, run)


BOUNDARIES = sorted(
    {max(edge + step, 0) for edge in (0, 8, 16, 64, 128, 1024, 2048) for step in (-1, 0, 1)}
    | {5, 3_000}
)


@pytest.mark.parametrize("bits", [48, 40, 3])
@pytest.mark.parametrize("count", BOUNDARIES)
def test_a_key_is_found_by_ranges_as_it_is_in_the_whole(count, bits):
    run = sorted_run(count, BOUNDARIES[-1] - count, bits=bits)
    data = key_files.encode(run)
    file = KeyFile("", len(data), len(run.ids), len(run.heads), run.start, run.shift)
    whole = key_files.decode(data, file, "here")
    for name in ("ids", "heads", "versions"):
        assert np.array_equal(getattr(whole, name), getattr(run, name))
    ids, heads = key_files.sections(file.ids, file.heads)
    assert (ids.offset, ids.stop, heads.stop) == (0, heads.offset, len(data))
    some = {int(key) & ~0xFFFF for key in run.ids[:: max(len(run.ids) // 150, 1)]}
    for key in {
        *some,
        0,
        0xFFFF_FFFF_FFFF_0000,
        *((one + 0x10000) % (1 << 64) for one in some),
        *(max(one - 0x10000, 0) for one in some),
    }:
        bucket = read_bucket(data, ids, key)
        wanted = np.array([key], np.uint64)
        assert np.array_equal(
            found_ids(key_files.ids_of_bucket(bucket), wanted), found_ids(run.ids, wanted)
        )
    some = run.heads[:: max(len(run.heads) // 150, 1)].tolist()
    for key in {*some, 0, 0xFFFF_FFFF_FFFF_0000, *((one + 0x10000) % (1 << 64) for one in some)}:
        version = key_files.version_in_bucket(read_bucket(data, heads, key), key)
        assert (None if version is None else version + run.start) == newest_in(run, key)


def read_bucket(data, section, key):
    first, last = section.directory(section.bucket(key))
    [(start, stop, crc)] = section.bounds([data[first:last]])
    assert section.data <= start <= stop <= section.stop
    assert zlib.crc32(data[start:stop]) == crc
    return data[start:stop]


@pytest.mark.parametrize("count", BOUNDARIES)
def test_the_buckets_of_a_section_are_all_of_it_each_in_its_place(count):
    run = sorted_run(count, 0)
    data = key_files.encode(run)
    section, _ = key_files.sections(count, 0)
    buckets = 1 << section.bits
    assert buckets == 1 or 8 <= count / buckets < 16
    entries = [data[slice(*section.directory(bucket))] for bucket in range(buckets)]
    read = [data[start:stop] for start, stop, _ in section.bounds(entries)]
    assert (
        section.buckets(run.ids) == sorted({section.bucket(key) for key in run.ids.tolist()})
        or not count
    )
    assert b"".join(read) == data[section.data : section.stop] == run.ids.tobytes()
    for bucket, part in enumerate(read):
        assert {section.bucket(int(key)) for key in key_files.ids_of_bucket(part)} <= {bucket}


@pytest.mark.parametrize("step", [-1, 1, 8, 12])
def test_a_file_of_another_length_than_its_keys_need_is_refused(step):
    run = sorted_run(200, 150)
    data = key_files.encode(run)
    file = KeyFile("", len(data), len(run.ids), len(run.heads), run.start, run.shift)
    with pytest.raises(CorruptionError, match="not a key file of 200"):
        key_files.decode(data[:step] if step < 0 else data + bytes(step), file, "here")


class InBlocks(RunSource):
    """A run that is read a few keys at a time."""

    def __init__(self, run, size):
        super().__init__(run)
        self.run, self.size = run, size

    def parts(self, values):
        return (values[first : first + self.size] for first in range(0, len(values), self.size))

    def ids(self):
        """As a run."""
        return self.parts(self.run.ids)

    def heads(self):
        """As a run."""
        return zip(self.parts(self.run.heads), self.parts(self.run.versions), strict=True)


def drawn_run(dice, start, commits, bits):
    """Keys of which many, with few ``bits``, are the same."""
    fingerprints, heads = (
        dice.integers(0, 1 << bits, dice.integers(0, 400), dtype=np.uint64) << np.uint64(64 - bits)
        for _ in range(2)
    )
    cells = dice.integers(0, commits, len(fingerprints), dtype=np.uint64)
    heads = distinct(heads)
    versions = dice.integers(start, start + commits, len(heads)).astype(np.uint32)
    return KeyRun(start, 0, np.sort(fingerprints | cells), heads, versions)


@pytest.mark.parametrize("seed", range(examples(200)))
def test_runs_that_are_merged_block_by_block_make_the_file_of_the_merged_run(seed):
    dice = np.random.default_rng(seed)
    runs, stop = [], int(dice.integers(0, 9))
    for _ in range(dice.integers(1, 5)):
        commits = int(dice.choice([1, 60, 40_000]))
        runs.append(drawn_run(dice, stop, commits, int(dice.choice([3, 9, 40]))))
        stop += commits
    expected = merged(runs, stop)
    out = io.BytesIO()
    found = merge_into(out, [InBlocks(run, int(dice.integers(1, 90))) for run in runs], stop)
    assert out.getvalue() == key_files.encode(expected)
    assert found == (len(expected.ids), len(expected.heads), expected.start, expected.shift)


class Nowhere(io.RawIOBase):
    """A file that keeps nothing."""

    def seek(self, offset, whence=0):
        """As a file."""
        return offset

    def write(self, data):
        """As a file."""
        return len(data)


class Endless(RunSource):
    """Many blocks of keys, of which one is in memory at a time."""

    def __init__(self, start, blocks):
        super().__init__(of_commit(start, np.empty(0, np.uint64), np.empty(0, np.uint64)))
        self.blocks = blocks
        self.count = blocks << 16

    def ids(self):
        """As a run."""
        step = np.uint64((1 << 64) // self.count)
        for block in range(self.blocks):
            yield np.arange(block << 16, (block + 1) << 16, dtype=np.uint64) * step


@pytest.mark.thorough
def test_the_memory_of_a_merge_does_not_grow_with_the_number_of_keys():
    peaks = []
    for blocks in (4, 32):
        tracemalloc.start()
        merge_into(Nowhere(), [Endless(0, blocks), Endless(1, blocks)], 2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 64 << 16 << 3


class Again:
    """Gives the keys again, and remembers that it was asked."""

    def __init__(self, run):
        self.run = run
        self.asked = 0

    def __call__(self, start, stop):
        self.asked += 1
        return self.run


def lookups(run, parts=6):
    """Some fingerprints of a run, known and unknown, for ids and for heads."""
    known = key_runs.distinct(run.ids & np.uint64(0xFFFF_FFFF_FFFF_0000))[
        :: max(len(run.ids) // parts, 1)
    ]
    heads = run.heads[:: max(len(run.heads) // parts, 1)].tolist()
    return key_runs.distinct(np.append(known, known[1:] + np.uint64(0x10000))), [
        *heads,
        heads[0] + 0x10000,
    ]


def told(stored_keys, wanted, heads):
    run, found = stored_keys.ids(wanted)
    versions = [run.versions_of(int(cell)) for cell in cells_of(found)]
    return found.tolist(), versions, [stored_keys.newest(key) for key in heads]


@pytest.mark.parametrize(
    "part_bytes", [0, 1_000, 10**9], ids=["in parts", "as it is", "as a whole"]
)
def test_a_stored_file_tells_the_same_in_parts_and_as_a_whole(part_bytes):
    run = sorted_run(2_000, 1_500)
    storage, file = stored(run)
    wanted, heads = lookups(run, parts=40)
    expected = (found_ids(run.ids, wanted).tolist(), [newest_in(run, key) for key in heads])
    stored_keys = StoredKeys(storage, file, 2_000, _no_need, lookup_bytes=part_bytes)
    for _ in range(3):
        found, versions, newest = told(stored_keys, wanted, heads)
        assert (found, newest) == expected
        assert versions == [run.versions_of(key & 0xFFFF) for key in found]


@pytest.mark.parametrize("part_bytes", [0, 10**9], ids=["in parts", "as a whole"])
def test_one_flipped_bit_anywhere_in_a_key_file_never_changes_what_is_told(part_bytes):
    run = sorted_run(150, 140)
    storage, file = stored(run)
    path = layout.keys_path(file.sha256)
    whole = storage.read(path)
    assert [section.bits for section in key_files.sections(file.ids, file.heads)] == [4, 4]
    wanted, heads = lookups(run, parts=150)
    expected = told(
        StoredKeys(storage, file, 2_000, _no_need, lookup_bytes=part_bytes), wanted, heads
    )
    asked = []
    places = some(range(len(whole)), 300)
    for place in places:
        storage._objects[path] = (
            whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        )
        again = Again(run)
        assert (
            told(StoredKeys(storage, file, 2_000, again, lookup_bytes=part_bytes), wanted, heads)
            == expected
        ), place
        asked.append(again.asked)
    unused = 0 if part_bytes else 2 * 4  # the checksums behind the last buckets
    missed = len(places) - sum(asked)
    assert missed == unused or (missed < unused and len(places) < len(whole)), (
        "every other byte is covered, and what is damaged is made again once"
    )


def test_a_bucket_beyond_its_section_is_not_read():
    run = sorted_run(500, 10)
    storage, file = stored(run)
    path = layout.keys_path(file.sha256)
    section = key_files.sections(file.ids, file.heads)[0]
    for first, last in ((0xFFFF_FFFF, 0xFFFF_FFFF), (5, 4), (0, 10**6)):
        forged = np.frombuffer(storage.read(path)[: section.data], "<u4").copy()
        forged[0], forged[2] = first, last
        damaged = forged.tobytes() + storage.read(path)[section.data :]
        broken = MemoryStorage()
        broken.create(path, damaged)
        again = Again(run)
        found = StoredKeys(broken, file, 2_000, again, lookup_bytes=0).ids(
            run.ids[:1] & np.uint64(0xFFFF_FFFF_FFFF_0000)
        )[1]
        assert (again.asked, found.tolist()) == (
            1,
            [key for key in run.ids.tolist() if key >> 16 == int(run.ids[0]) >> 16],
        )


LOSSES = ["missing", "emptied", "cut in its directory", "cut by one byte"]


# Only who reads a file as a whole, as a verification does, sees that it is another one: a bucket
# does not say of which file it is.
@pytest.mark.parametrize(
    ("change", "part_bytes"),
    [
        *((loss, part_bytes) for loss in LOSSES for part_bytes in (0, 10**9)),
        ("another file", 10**9),
    ],
)
def test_a_key_file_that_is_lost_or_cut_is_made_again(change, part_bytes):
    run = sorted_run(150, 140)
    storage, file = stored(run)
    path = layout.keys_path(file.sha256)
    whole = storage.read(path)
    other = key_files.encode(sorted_run(150, 140, start=7, bits=40))
    contents = {
        "emptied": b"",
        "cut in its directory": whole[:9],
        "cut by one byte": whole[:-1],
        "another file": other,
    }
    wanted, heads = lookups(run)
    expected = told(
        StoredKeys(storage, file, 2_000, _no_need, lookup_bytes=part_bytes), wanted, heads
    )
    del storage._objects[path]
    if change in contents:
        storage.create(path, contents[change])
    again = Again(run)
    # The last bucket is asked for as well, where a file that was cut by a byte ends.
    assert (
        told(
            StoredKeys(storage, file, 2_000, again, lookup_bytes=part_bytes),
            wanted,
            [*heads, int(run.heads[-1])],
        )[:2]
        == expected[:2]
    )
    assert again.asked == 1


@pytest.fixture
def on_disk(tmp_path):
    """``(storage, file, run)`` of a key file on a local disk."""
    run = sorted_run(2 * BLOCK_BYTES // 8 + 99, 4_000)
    storage = LocalStorage(tmp_path)
    return storage, unfolded_keys.store(storage, run), run


@pytest.mark.parametrize("part_bytes", [0, 250, 10**9], ids=["in parts", "as it is", "in blocks"])
def test_a_file_that_is_too_large_to_keep_tells_the_same(on_disk, part_bytes):
    storage, file, run = on_disk
    wanted, heads = lookups(run, parts=100)
    large = StoredKeys(storage, file, 8_000, _no_need, lookup_bytes=part_bytes, kept_bytes=0)
    for some_wanted in (wanted, wanted[:3], wanted[-2:], wanted[:0], wanted):
        found, _, newest = told(large, some_wanted, heads)
        assert found == found_ids(run.ids, some_wanted).tolist()
        assert newest == [newest_in(run, key) for key in heads]
    assert large._run is None


@pytest.mark.parametrize("part_bytes", [0, 10**9], ids=["in parts", "in blocks"])
def test_one_flipped_bit_in_a_file_that_is_too_large_to_keep_never_changes_what_is_told(
    on_disk, part_bytes
):
    storage, file, run = on_disk
    path = layout.keys_path(file.sha256)
    whole = storage.read(path)
    wanted, heads = lookups(run, parts=50)
    expected = (found_ids(run.ids, wanted).tolist(), [newest_in(run, key) for key in heads])
    for place in [0, 9, *range(5_000, len(whole), len(whole) // 7), len(whole) - 1]:
        changed = whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        storage.delete(path)
        storage.create(path, changed)
        again = Again(run)
        large = StoredKeys(storage, file, 8_000, again, OWN, lookup_bytes=part_bytes, kept_bytes=0)
        found, _, newest = told(large, wanted, heads)
        assert ((found, newest), again.asked) == (expected, 1), place


def changed_order(data, section):
    """The file with two of its ids exchanged."""
    first, second = (slice(section.data + at, section.data + at + 8) for at in (0, 8 * 3_000))
    changed = bytearray(data)
    changed[first], changed[second] = data[second], data[first]
    return bytes(changed)


def test_keys_that_are_not_sorted_are_not_merged(on_disk):
    storage, file, _ = on_disk
    data = changed_order(
        storage.read(layout.keys_path(file.sha256)), key_files.sections(file.ids, file.heads)[0]
    )
    forged = unfolded_keys.store_encoded(
        storage, data, Merged(file.ids, file.heads, file.start, file.shift)
    )
    with pytest.raises(CorruptionError, match="not sorted"):
        merge_into(io.BytesIO(), [KeyBlocks(storage, forged)], 8_000)


def test_a_small_number_of_lookups_reads_parts_and_many_read_the_file_once():
    class Counted(MemoryStorage):
        """Memory that remembers what was read."""

        def __init__(self):
            super().__init__()
            self.verbs = []

        def read(self, path):
            """As memory."""
            self.verbs.append("whole")
            return super().read(path)

        def read_ranges(self, path, ranges):
            """As memory."""
            self.verbs.append("parts")
            return super().read_ranges(path, ranges)

    run = sorted_run(3_000, 3_000)
    storage, file = stored(run, Counted())
    stored_keys = StoredKeys(storage, file, 4_000, _no_need)
    for key in run.heads.tolist():
        assert stored_keys.newest(key) == newest_in(run, key)
    assert storage.verbs.count("whole") == 1
    assert (
        storage.verbs.index("whole") == storage.verbs.count("parts") == 2 * (file.size_bytes // 250)
    )


def test_an_index_of_nothing_suspects_nothing():
    index = KeyIndex(MemoryStorage(), _no_need)
    assert index.suspects(None, numbers(3), 0) == []
    assert index.newest(None, "subject", "/loan") is None
