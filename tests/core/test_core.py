"""Values and arithmetic of the core."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

import eventlake as el
from eventlake import progress
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import KeyFile, Tier
from eventlake.core.hashing.canonical import seal, unseal
from eventlake.core.hashing.checkpoint import Checkpoint, check_origin
from eventlake.core.hashing.merkle import CompactRange, aligned_levels
from eventlake.core.instants import (
    MAX_US,
    MIN_US,
    format_instant,
    from_micros,
    micros,
    parse_instant,
)
from eventlake.core.names import repeated
from eventlake.errors import CorruptionError, InvalidInputError, UnsupportedFormatError
from eventlake.storage import MemoryStorage
from tests.support import naive

pytestmark = pytest.mark.every_case


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01 00:00:00+00:00", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T23:59:00+23:59", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.0000010000Z", 1),
        ("2024-02-29T00:00:00-00:00", 1_709_164_800_000_000),
        ("0001-01-01T00:00:00Z", MIN_US),
        ("9999-12-31T23:59:59.999999Z", MAX_US),
    ],
)
def test_rfc_3339_is_read_to_the_microsecond(text, expected):
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-01-31T12:00:00", "naive"),
        ("2026-01-31", "RFC 3339"),
        ("", "RFC 3339"),
        ("2026-01-31T12:00Z", "RFC 3339"),
        ("2026-1-31T12:00:00Z", "RFC 3339"),
        ("2026-01-31T12:00:00 Z", "RFC 3339"),
        ("2026-01-31T12:00:00Z\n", "RFC 3339"),
        ("2026-01-31T12:00:00.Z", "RFC 3339"),
        ("٢٠٢٦-01-31T12:00:00Z", "RFC 3339"),
        ("2026-01-31T12:00:00+0100", "RFC 3339"),
        ("2026-01-31T12:00:00.1234567Z", "microseconds at the finest"),
        ("2026-02-30T12:00:00Z", "day"),
        ("2026-13-01T12:00:00Z", "month"),
        ("2026-01-31T24:00:00Z", "hour"),
        ("2026-12-31T23:59:60Z", "second"),
        ("2026-01-31T24:00:01Z", "hour"),
        (
            "2026-01-31T12:00:00+25:00",
            "offset from -23:59 to \\+23:59 with minutes up to 59, found \\+25:00",
        ),
        ("2026-01-31T12:00:00+24:00", "offset from -23:59"),
        ("2026-01-31T12:00:00+01:99", "minutes up to 59, found \\+01:99"),
        ("2026-01-31T12:00:00-01:60", "minutes up to 59, found -01:60"),
        ("2026-01-31T12:00:00+23:60", "offset from -23:59"),
        ("0001-01-01T00:00:00+00:01", "years 1 to 9999"),
        ("9999-12-31T23:59:59-00:01", "years 1 to 9999"),
    ],
)
def test_what_is_no_instant_is_refused_with_the_reason(text, why):
    with pytest.raises(ValueError, match=why):
        parse_instant(text)


def test_a_stored_instant_keeps_the_value_that_its_offset_had():
    assert parse_instant("2026-01-31T12:00:00+01:99", stored=True) == parse_instant(
        "2026-01-31T09:21:00Z"
    )
    assert parse_instant("2026-01-31T12:00:00.5-01:60", stored=True) == parse_instant(
        "2026-01-31T14:00:00.5Z"
    )
    with pytest.raises(ValueError, match="offset"):
        parse_instant("2026-01-31T12:00:00+23:60", stored=True)


def test_an_instant_is_the_same_in_every_zone():
    moment = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=-7)))
    assert micros(moment) == micros(moment.astimezone(UTC)) == parse_instant("2026-01-31T19:00:00Z")


def test_a_naive_datetime_is_no_instant():
    with pytest.raises(ValueError, match="naive"):
        micros(datetime(2026, 1, 31))


@pytest.mark.parametrize("value", [MIN_US, -1, 0, 1, 1_767_225_600_000_000, MAX_US])
def test_instants_are_written_as_they_are_read(value):
    assert parse_instant(format_instant(value)) == micros(from_micros(value)) == value


@pytest.mark.parametrize("text", ["o 0@" + "0" * 64, "bank.example/loans 12@" + "af" * 32])
def test_a_checkpoint_is_one_line_that_reads_back(text):
    assert str(Checkpoint.parse(f" {text}\n")) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o 1",
        "o 1@abc",
        "o -1@" + "0" * 64,
        "o 01@" + "0" * 64,
        "o 1@" + "A" * 64,
        "a b 1@" + "0" * 64,
        "1@" + "0" * 64,
        "o 1@" + "0" * 65,
    ],
)
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(InvalidInputError, match="not a checkpoint"):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "origin", ["", "a b", "a+b", "a\tb", "a\x00", "x" * 201, None, 7, "a\n"], ids=ascii
)
def test_an_origin_without_blanks_plus_and_control_characters_is_asked_for(origin):
    with pytest.raises(InvalidInputError, match="origin"):
        check_origin(origin)
    storage = MemoryStorage()
    with pytest.raises(InvalidInputError, match="origin"):
        el.create(storage, origin)
    assert list(storage.list("")) == []


def test_an_origin_may_be_any_other_text():
    assert check_origin("bänk.example/loans@1?x=y") == "bänk.example/loans@1?x=y"


def test_paths_are_read_as_they_are_written():
    assert layout.commit_path(42) == "log/00000000000000000042.json"
    assert layout.commit_version(layout.commit_path(42)) == 42
    assert layout.segment_path("ab" * 32) == f"segments/{'ab' * 32}.parquet"
    assert layout.segment_sha256(layout.segment_path("ab" * 32)) == "ab" * 32
    assert layout.build_parts(f"{layout.build_path('loans', 'cd' * 32)}/manifest.json") == (
        "loans",
        "cd" * 6,
        "manifest.json",
    )


@pytest.mark.parametrize(
    "path",
    ["log/42.json", "log/00000000000000000042.json.bak", "x/log/00000000000000000042.json", "log/"],
)
def test_other_names_are_no_commits(path):
    assert layout.commit_version(path) is None


@pytest.mark.parametrize(
    "path", ["segments/ab.parquet", f"segments/{'AB' * 32}.parquet", f"{'ab' * 32}.parquet"]
)
def test_other_names_are_no_segments(path):
    assert layout.segment_sha256(path) is None


SEALED = seal({"a": 1, "b": [None, "é"]})


def test_a_sealed_document_reads_back_without_its_checksum():
    assert unseal(SEALED, "x") == {"a": 1, "b": [None, "é"]}
    assert naive.sealed({"a": 1, "b": [None, "é"]}) == SEALED


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_a_sealed_document_with_any_other_bit_is_damaged(place):
    for bit in range(8):
        damaged = bytearray(SEALED)
        damaged[place] ^= 1 << bit
        with pytest.raises(CorruptionError, match=r"^where is damaged"):
            unseal(bytes(damaged), "where")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"7",
        b"{}",
        b'{"a":1}',
        SEALED + b"\n",
        b" " + SEALED,
        SEALED[:-1],
        SEALED.replace(b":1", b": 1"),
        SEALED.replace(b"1", b"1.0"),
        SEALED.replace(b"null", b"NaN"),
        b"\xff\xfe",
        SEALED.replace(b'{"a":1,', b'{"a":2,"a":1,'),
        SEALED.decode().replace("é", "\\u00e9").encode(),
    ],
)
def test_what_was_not_sealed_like_this_is_damaged(data):
    with pytest.raises(CorruptionError, match=r"^where is damaged"):
        unseal(data, "where")


@pytest.mark.parametrize(
    "data",
    [b'{"a":"\\ud800","checksum":"x"}', b"[" * 100_000],
    ids=["lone surrogate", "deep nesting"],
)
def test_a_damaged_document_that_python_cannot_handle_is_damaged_too(data):
    with pytest.raises(CorruptionError, match=r"^where is damaged"):
        unseal(data, "where")


def commit_document(**changes):
    lake = el.create(storage := MemoryStorage(), "o")
    lake.append([{"id": "1", "source": "s", "type": "t"}, {"id": "2", "source": "s", "type": "u"}])
    document = unseal(storage.read(layout.commit_path(0)), "x")
    segment = document["segments"][0] | changes.pop("segment", {})
    return {**document, "segments": [segment], **changes}


def test_a_commit_whose_figures_agree_is_read():
    assert Commit.decode(seal(commit_document()), "x").stop == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": 3},
        {"start": 1},
        {"root": "0" * 64},
        {"frontier": []},
        {"frontier": ["zz"]},
        {"frontier": ["00" * 32]},
        {"segments": []},
        {"segments": None},
        {"version": None, "segments": [{}]},
        {"segment": {"stop": 1}},
        {"segment": {"start": -1}},
        {"segment": {"types": {"t": 1}}},
        {"segment": {"range": []}},
        {"segment": {"range": ["00"] * 2}},
        {"segment": {"time": 5}},
        {"segment": {"time": [0, 0]}},
        {"segment": {"undated": 0}},
        {"segment": {"columns": ["source", "type"]}},
        {"prev": "0" * 64},
        {"fence": 1},
    ],
    ids=str,
)
def test_a_sealed_commit_whose_figures_do_not_agree_is_damaged(changes):
    with pytest.raises(CorruptionError, match="not a valid commit"):
        Commit.decode(seal(commit_document(**changes)), "log/0")


@pytest.mark.parametrize("stop", [0, 1])
def test_a_tier_without_commits_and_one_that_its_commit_does_not_follow_are_refused(stop):
    keys = {"bytes": 9, "heads": 0, "ids": 1, "sha256": "ab" * 32, "shift": 0, "start": 0}
    rows = {"bytes": 9, "sha256": "cd" * 32}
    document = commit_document()
    tiers = [{"keys": keys, "rows": rows, "start": 0, "stop": stop}]
    recent = document["recent"] | {"start": stop, "files": []}
    problem = (
        r"expected a tier from commit 0, found \[0, 0\)"
        if stop == 0
        else "its tiers end at 1, what is recent begins at 1"
    )
    with pytest.raises(CorruptionError, match=problem):
        Commit.decode(seal(document | {"tiers": tiers, "recent": recent}), "log/0")


@pytest.mark.parametrize(
    ("starts", "problem"),
    [
        ([0], None),
        ([], None),
        ([1], r"expected key files of commits from 0 to 0, found some of \[1\]"),
        ([0, 0], r"expected key files of commits from 0 to 0, found some of \[0, 0\]"),
    ],
    ids=str,
)
def test_the_key_files_of_recent_commits_begin_at_commits_each_at_another(starts, problem):
    files = [
        {"bytes": 9, "heads": 0, "ids": 1, "sha256": "ab" * 32, "shift": 0, "start": start}
        for start in starts
    ]
    document = commit_document()
    data = seal(document | {"recent": document["recent"] | {"files": files}})
    if problem is None:
        assert [file.start for file in Commit.decode(data, "log/0").recent.files] == starts
    else:
        with pytest.raises(CorruptionError, match=problem):
            Commit.decode(data, "log/0")


def test_a_sealed_commit_with_a_list_for_an_object_is_damaged():
    with pytest.raises(CorruptionError, match="not a valid commit"):
        Commit.decode(seal(commit_document(segment={"types": ["t", "u"]})), "log/0")


@pytest.mark.parametrize("changes", [{"format": 2}, {"format": 99}, {"kind": "erase"}], ids=str)
def test_a_commit_of_a_newer_eventlake_asks_for_an_upgrade(changes):
    with pytest.raises(UnsupportedFormatError) as caught:
        Commit.decode(seal(commit_document(**changes)), "log/0")
    assert "upgrade" in caught.value.hint
    assert caught.value.facts["path"] == "log/0"


@pytest.mark.parametrize("found", [None, "0", [0]], ids=str)
def test_a_commit_without_a_format_number_is_damaged(found):
    with pytest.raises(CorruptionError, match="format number"):
        Commit.decode(seal(commit_document(format=found)), "log/0")


@pytest.mark.parametrize(
    ("start", "stop", "levels"),
    [(0, 0, []), (0, 8, [3]), (0, 7, [2, 1, 0]), (1, 8, [0, 1, 2]), (3, 13, [0, 2, 2, 0])],
)
def test_aligned_subtrees_go_up_and_down_again(start, stop, levels):
    assert aligned_levels(start, stop) == levels


@pytest.mark.parametrize(("start", "stop", "nodes"), [(0, 2, 0), (0, 2, 2), (2, 1, 0), (-1, 0, 1)])
def test_a_compact_range_with_another_number_of_subtrees_is_refused(start, stop, nodes):
    with pytest.raises(ValueError, match="subtrees"):
        CompactRange(start, stop, (b"\0" * 32,) * nodes)


def test_ranges_that_do_not_meet_are_not_merged():
    with pytest.raises(ValueError, match="do not meet"):
        CompactRange.empty(0).merge(CompactRange.empty(1))


def test_a_range_that_is_no_subtree_has_no_root():
    nodes = tuple(bytes([number]) * 32 for number in range(3))
    with pytest.raises(ValueError, match="not a subtree"):
        CompactRange(1, 4, nodes[:2]).root()
    assert CompactRange(2, 4, nodes[:1]).root() == nodes[0]


def test_a_tier_weighs_16_for_each_commit_and_1_for_each_event():
    keys = KeyFile("ab" * 32, size_bytes=9, ids=100, heads=7, start=2, shift=0)
    assert Tier(2, 5, "cd" * 32, 9, keys).weight == 3 * 16 + 100


class Recorder:
    """Remembers what was reported."""

    def __init__(self):
        self.steps = []

    def task(self, what, total):
        """A line of progress that is only remembered."""
        from contextlib import nullcontext  # noqa: PLC0415 - two lines use it

        self.steps.append((what, total))
        return nullcontext(self.steps.append)


def test_progress_is_told_to_whoever_listens_and_to_nobody_afterwards():
    recorder = Recorder()
    lake = el.create("memory://", "o")
    with progress.shown_by(recorder):
        lake.append([{"id": "1", "source": "s", "type": "t"}])
    lake.append([{"id": "2", "source": "s", "type": "t"}])
    assert recorder.steps == [("appending events", 1), 1]


@pytest.mark.thorough
def test_names_that_stand_more_than_once_are_found_among_a_million():
    """Counting each name by itself would need hours; a table of a stranger may have that many columns."""
    names = [f"c{number}" for number in range(1_000_000)]
    assert repeated(names) == []
    assert repeated([*names, "c7", "b", "C7", "b"]) == ["b", "c7"]
    assert repeated([*names, "b", "C7"], str.casefold) == ["C7", "c7"]
